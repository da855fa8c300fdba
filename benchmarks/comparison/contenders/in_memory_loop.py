"""The loop of a careful author: the base of all ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class InMemoryLoop(Contender):
    """Tensors on the device, fused Adam, the loss read once per epoch."""

    def session(self, problem: Problem, device: str) -> Session:
        import torch

        from comparison.contenders import torch_parts as parts

        class Loop(parts.TorchSession):
            def __init__(self) -> None:
                super().__init__(problem, device)
                self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-3, fused=True)

            def data(self, x: Any, y: Any) -> Any:
                return tuple(tensor.to(device) for tensor in self.tensors(x, y))

            def fit(self, data: Any) -> float:
                x, y = data
                module, optimizer = self.module.train(), self.optimizer
                order = torch.randperm(len(x), device=device)
                total = torch.zeros((), device=device)
                for start in range(0, len(x), self.batch_size):
                    rows = order[start : start + self.batch_size]
                    loss = parts.loss_of(module(x[rows]), y[rows])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    total += loss.detach()
                return float(total) / (len(x) / self.batch_size)

            def evaluate(self, data: Any) -> float:
                x, y = data
                module = self.module.eval()
                total, hits = torch.zeros((), device=device), torch.zeros((), device=device)
                with torch.inference_mode():
                    for start in range(0, len(x), self.batch_size):
                        rows = slice(start, start + self.batch_size)
                        logits = module(x[rows])
                        total += parts.loss_of(logits, y[rows]) * len(logits)
                        hits += parts.hits_of(logits, y[rows])
                _ = float(hits) / len(x)
                return float(total) / len(x)

            def predict(self, x: Any) -> Any:
                module = self.answers()
                if len(x) <= self.batch_size:
                    with torch.inference_mode():
                        return module(torch.from_numpy(x).to(device)).cpu().numpy()
                with torch.inference_mode():
                    batches = torch.from_numpy(x).split(self.batch_size)
                    first = module(batches[0].to(device))
                    outputs = torch.empty(len(x), *first.shape[1:])
                    for index, batch in enumerate(batches):
                        start = index * self.batch_size
                        outputs[start : start + len(batch)].copy_(module(batch.to(device)))
                return outputs.numpy()

            def save(self, path: Path) -> None:
                parts.save(path, self.module, self.optimizer)

            def load(self, path: Path) -> None:
                module = problem.module().to(device)
                optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
                parts.load(path, module, optimizer)

        return Loop()
