"""Poutyne's Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class Poutyne(Contender):
    """`Model(network, optimizer, loss).fit(x, y)`."""

    packages = ("poutyne", "torch")
    modules = ("poutyne",)

    def session(self, problem: Problem, device: str) -> Session:
        import torch
        from poutyne import Model

        from comparison.contenders import torch_parts as parts

        def accuracy(logits: Any, y: Any) -> Any:
            return parts.hits_of(logits, y) * (100.0 / len(y))

        class Fit(parts.TorchSession):
            def __init__(self) -> None:
                super().__init__(problem, device)
                self.model = self._new(self.module, [])

            def _new(self, module: Any, metrics: list[Any]) -> Any:
                optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
                model = Model(module, optimizer, parts.loss_of, batch_metrics=metrics)
                return model.to(device)

            def with_accuracy(self) -> None:
                """Compile with a metric, as one who evaluates does."""
                self.model = self._new(self.module, [accuracy])

            def data(self, x: Any, y: Any) -> Any:
                return self.tensors(x, y)

            def fit(self, data: Any) -> float:
                size = self.batch_size
                logs = self.model.fit(*data, batch_size=size, epochs=1, verbose=False)
                return float(logs[0]["loss"])

            def evaluate(self, data: Any) -> float:
                size = self.batch_size
                found = self.model.evaluate(
                    *data, batch_size=size, verbose=False, return_dict_format=True
                )
                return float(found["test_loss"])

            def predict(self, x: Any) -> Any:
                model = Model(self.answers(), None, None).to(device)
                return model.predict(x, batch_size=self.batch_size, verbose=False)

            def save(self, path: Path) -> None:
                self.model.save_weights(f"{path}.weights")
                self.model.save_optimizer_state(f"{path}.optimizer")

            def load(self, path: Path) -> None:
                model = self._new(problem.module(), [])
                model.load_weights(f"{path}.weights")
                model.load_optimizer_state(f"{path}.optimizer")

        return Fit()
