"""skorch's NeuralNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class Skorch(Contender):
    """`NeuralNet` without a validation split."""

    packages = ("skorch", "torch")
    modules = ("skorch",)

    def session(self, problem: Problem, device: str) -> Session:
        import torch
        from skorch import NeuralNet
        from torch import nn

        from comparison.contenders import torch_parts as parts

        class Fit(parts.TorchSession):
            def __init__(self) -> None:
                super().__init__(problem, device)
                self.net = self._new()

            def _new(self) -> Any:
                one = problem.classes == 1
                net = NeuralNet(
                    problem.module,
                    criterion=nn.BCEWithLogitsLoss if one else nn.CrossEntropyLoss,
                    optimizer=torch.optim.Adam,
                    lr=1e-3,
                    batch_size=self.batch_size,
                    max_epochs=1,
                    train_split=None,
                    iterator_train__shuffle=True,
                    predict_nonlinearity=self.last,
                    verbose=0,
                    device=device,
                )
                return net.initialize()

            def data(self, x: Any, y: Any) -> Any:
                return self.tensors(x, y)

            def fit(self, data: Any) -> float:
                self.net.partial_fit(*data)
                return float(self.net.history[-1, "train_loss"])

            def predict(self, x: Any) -> Any:
                return self.net.predict_proba(x)

            def save(self, path: Path) -> None:
                self.net.save_params(f_params=f"{path}.params", f_optimizer=f"{path}.optimizer")

            def load(self, path: Path) -> None:
                net = self._new()
                net.load_params(f_params=f"{path}.params", f_optimizer=f"{path}.optimizer")

        return Fit()
