"""torchseq beside what people would use instead; `benchmarks/compare.py` is the command."""
