"""The loop of the tutorials."""

from __future__ import annotations

from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class DataLoaderLoop(Contender):
    """`DataLoader(TensorDataset)`, default Adam, `loss.item()` in each step."""

    def session(self, problem: Problem, device: str) -> Session:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        from comparison.contenders import torch_parts as parts

        class Loop(parts.TorchSession):
            def __init__(self) -> None:
                super().__init__(problem, device)
                self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-3)

            def data(self, x: Any, y: Any) -> Any:
                return self.loader(x, y)

            def test_data(self, x: Any, y: Any) -> Any:
                return self.loader(x, y, shuffle=False)

            def fit(self, data: Any) -> float:
                module, optimizer, total = self.module.train(), self.optimizer, 0.0
                for x, y in data:
                    x, y = x.to(device), y.to(device)
                    optimizer.zero_grad()
                    loss = parts.loss_of(module(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                return total / len(data)

            def evaluate(self, data: Any) -> float:
                module, total, hits = self.module.eval(), 0.0, 0
                with torch.no_grad():
                    for x, y in data:
                        x, y = x.to(device), y.to(device)
                        logits = module(x)
                        total += parts.loss_of(logits, y).item()
                        hits += parts.hits_of(logits, y).item()
                return total / len(data)

            def predict(self, x: Any) -> Any:
                module = self.answers()
                loader = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=self.batch_size)
                with torch.no_grad():
                    outputs = [module(batch.to(device)).cpu() for (batch,) in loader]
                return torch.cat(outputs).numpy()

        return Loop()
