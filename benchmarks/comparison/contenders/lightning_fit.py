"""Lightning's Trainer."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem


class Lightning(Contender):
    """A LightningModule and a Trainer, with all that it writes and prints turned off."""

    packages = ("lightning", "torch")
    modules = ("lightning",)

    def session(self, problem: Problem, device: str) -> Session:
        import lightning
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        from comparison.contenders import torch_parts as parts

        warnings.filterwarnings("ignore", module="lightning")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

        class Module(lightning.LightningModule):
            def __init__(self, module: Any, last: Any):
                super().__init__()
                self.module, self.last = module, last
                self.total: Any = 0.0

            def training_step(self, batch: Any, index: int) -> Any:
                x, y = batch
                loss = parts.loss_of(self.module(x), y)
                self.total += loss.detach()
                return loss

            def test_step(self, batch: Any, index: int) -> None:
                x, y = batch
                logits = self.module(x)
                self.log("loss", parts.loss_of(logits, y), on_epoch=True)
                self.log("accuracy", parts.hits_of(logits, y) / len(y), on_epoch=True)

            def predict_step(self, batch: Any, index: int) -> Any:
                return self.last(self.module(batch[0]))

            def configure_optimizers(self) -> Any:
                return torch.optim.Adam(self.parameters(), lr=1e-3)

        class Fit(parts.TorchSession):
            def __init__(self) -> None:
                super().__init__(problem, device)
                self.lightning = Module(self.module, self.last)
                self.trainer = lightning.Trainer(
                    accelerator="gpu" if device == "cuda" else "cpu",
                    devices=1,
                    max_epochs=0,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                )

            def data(self, x: Any, y: Any) -> Any:
                return self.loader(x, y)

            def test_data(self, x: Any, y: Any) -> Any:
                return self.loader(x, y, shuffle=False)

            def fit(self, data: Any) -> float:
                self.lightning.total = 0.0
                self.trainer.fit_loop.max_epochs = self.trainer.current_epoch + 1
                self.trainer.fit(self.lightning, data)
                return float(self.lightning.total) / len(data)

            def evaluate(self, data: Any) -> float:
                (results,) = self.trainer.test(self.lightning, data, verbose=False)
                return float(results["loss"])

            def predict(self, x: Any) -> Any:
                loader = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=self.batch_size)
                return torch.cat(self.trainer.predict(self.lightning, loader)).numpy()

            def save(self, path: Path) -> None:
                self.trainer.save_checkpoint(path)

            def load(self, path: Path) -> None:
                module = problem.module()
                Module.load_from_checkpoint(path, module=module, last=self.last)

        return Fit()
