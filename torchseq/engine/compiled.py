"""`compile`, its config, and the metrics it made."""

from __future__ import annotations

from typing import Any

from torch import nn

from torchseq import optimizers
from torchseq.base import arguments, registry
from torchseq.base.types import Config
from torchseq.engine import jit
from torchseq.engine.objective import Objective
from torchseq.engine.whole_step import WholeStep


class Compiled:
    """The part of `Trainer` that says how a model learns and what it reports."""

    optimizer: Any

    def _init_trainer(self) -> None:
        self.compiled = False
        self.optimizer = None
        self.loss: Any = None
        self.stop_training = False
        self._objective: Objective | None = None
        self._compile_arguments: Config = {}
        self.jit_compile: Any = False
        self._whole_step: WholeStep | None = None
        self._reports: Any = None  # of a model that overrides how it trains; made when it does
        self._forget_functions()

    def _forget_functions(self) -> None:
        self.train_function = self.test_function = self.predict_function = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how the model learns and what it reports.

        Args:
            optimizer: name, config or object; also an optimizer of torch, its class, a function
                of the parameters that returns one, `(optimizer, scheduler, interval)` or
                `(scheduler, interval)` with a scheduler of torch: see `TorchOptimizer`.
            loss: name, object, or callable `(y_true, y_pred)`; also a torch loss module.
            loss_weights: factor of the loss.
            metrics: list of names, objects or callables.
            weighted_metrics: the same, weighted by sample and class weights.
            run_eagerly: never compile steps, whatever `jit_compile` says.
            steps_per_execution: batches for which callbacks' batch hooks run once, with the index
                of the first and that of the last, as if the last group of an epoch were full.
            jit_compile: True to compile whole steps into graphs, or the `backend`, `mode` and
                `options` of `torch.compile` as a dict; "cudagraph" to launch whole steps on a GPU
                as CUDA graphs. False and "auto" run eagerly, unless the environment has
                `TORCHSEQ_JIT=1`, which turns "auto" into True.
            auto_scale_loss: under the policy "mixed_float16", put the optimizer into a
                `LossScaleOptimizer`.

        Raises:
            ValueError: for a name that is not known, with the nearest known ones.
        """
        arguments.positive_integer("compile", "steps_per_execution", steps_per_execution)
        self.jit_compile = False if run_eagerly else jit.options_of(jit_compile)
        self._whole_step = None
        self._forget_functions()
        new_optimizer = self._compiled_optimizer(optimizer)
        self._objective = Objective(loss, loss_weights, metrics, weighted_metrics)
        self.optimizer = self._scaled(new_optimizer) if auto_scale_loss else new_optimizer
        self.loss = _Held(loss) if isinstance(loss, nn.Module) else loss
        self.run_eagerly = run_eagerly
        self.steps_per_execution = steps_per_execution
        self.stop_training = False
        self.compiled = True
        self._compile_arguments = {
            "optimizer": new_optimizer,
            "loss": self.loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit.for_config(jit_compile),
        }

    def _compiled_optimizer(self, identifier: Any) -> Any:
        optimizer = optimizers.get(identifier)
        if isinstance(optimizer, optimizers.TorchOptimizer) and self.built:  # type: ignore[attr-defined]
            weights = self.trainable_weights  # type: ignore[attr-defined]
            optimizer = optimizer.twin() if optimizer.trains_others(weights) else optimizer
            optimizer.build(weights)  # says now whether it holds weights of this model
        return optimizer

    def _scaled(self, optimizer: Any) -> Any:
        """Return the optimizer with loss scaling, if the model's policy needs it."""
        policy = self.dtype_policy.name  # type: ignore[attr-defined]
        if policy != "mixed_float16" or isinstance(optimizer, optimizers.LossScaleOptimizer):
            return optimizer
        if isinstance(optimizer, optimizers.TorchOptimizer):
            raise ValueError(
                "compile: under the policy 'mixed_float16' the optimizer must be one of "
                f"torchseq's, whose loss can be scaled; got {optimizer!r}. Use one of those, or "
                "the policy 'mixed_bfloat16', which needs no scaling, or auto_scale_loss=False."
            )
        return optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")

    def _end_epoch(self) -> None:
        """Step a torch scheduler that steps once per epoch."""
        if isinstance(self.optimizer, optimizers.TorchOptimizer):
            self.optimizer.end_epoch()

    def get_compile_config(self) -> Config:
        """Return compile's arguments, serialized.

        {} if the model is not compiled, or no config can describe the torch optimizer.
        """
        if (
            isinstance(self.optimizer, optimizers.TorchOptimizer)
            and self.optimizer.unsaved_because()
        ):
            return {}
        return {name: registry.serialize(value) for name, value in self._compile_arguments.items()}

    def compile_from_config(self, config: Config, custom_objects: Any = None) -> None:
        """Compile as a model was whose `get_compile_config` returned this."""
        given = {key: registry.deserialize(value, custom_objects) for key, value in config.items()}
        if given.get("jit_compile") is False:
            given["jit_compile"] = "auto"  # for which configs say False, as Keras's do
        self.compile(**given)
        if self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_weights)  # type: ignore[attr-defined]

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss, then the compiled metrics once their shapes are known."""
        return [] if self._objective is None else self._objective.all_metrics()

    @property
    def metrics_names(self) -> list[str]:
        """`"loss"`, and `"compile_metrics"` if there are any, as in Keras."""
        if self._objective is None:
            return []
        return ["loss", "compile_metrics"] if self._objective.is_reporting else ["loss"]

    def reset_metrics(self) -> None:
        """Set all metrics to their start."""
        self._need_objective("reset_metrics").reset()

    def _need_objective(self, method: str) -> Objective:
        if self._objective is None:
            raise ValueError(
                f"{method}: the model must be compiled first. Call "
                "`model.compile(optimizer, loss, metrics)`."
            )
        return self._objective


class _Held:
    """Holds a torch loss so that the model does not take it for a part of itself."""

    def __init__(self, module: nn.Module):
        self.module = module

    def get_config(self) -> Config:
        """A module has no config, here as in Keras.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "get_compile_config: a torch loss has no config to save; got "
            f"{self.module!r}. Use `save_weights`, or compile with a function that calls it."
        )
