"""`make bench`: measure every figure of docs/benchmarks.md, or the themes that are named."""

import sys

from benchmarks import runner

if __name__ == "__main__":
    sys.exit(runner.main(sys.argv[1:]))
