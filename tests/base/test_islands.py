"""Islands: kept while their graph lives, and made in the thread that records alone."""

import gc
import threading

import torch
from torch import Tensor

from torchseq.base import islands
from torchseq.engine import graphs


def doubled(x: Tensor) -> Tensor:
    return islands.island(lambda given: [2 * given], x)[0]


def test_an_island_lives_as_long_as_the_graph() -> None:
    before = set(islands._sites)
    x = torch.rand(3)
    recorded = graphs.record(lambda given: [doubled(doubled(given))], [x])
    run = graphs.compiled(recorded, [x], {"backend": "eager"})
    del recorded
    gc.collect()
    assert len(set(islands._sites) - before) == 2
    torch.testing.assert_close(run([x])[0], 4 * x)
    del run
    gc.collect()
    assert set(islands._sites) == before


def test_other_threads_are_not_recorded() -> None:
    seen: list[bool] = []
    with islands.tracing() as found:
        thread = threading.Thread(target=lambda: seen.append(islands.is_tracing()))
        thread.start()
        thread.join()
        assert islands.is_tracing()
    assert seen == [False]
    assert found == []
    assert not islands.is_tracing()
