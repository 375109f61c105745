"""`python -m animevsr.test -opt options/vqd_sr/test.yml`: BasicSR's test runner with everything of animevsr
registered.
"""

from basicsr.test import test_pipeline

from animevsr.train import run

if __name__ == '__main__':
    run(test_pipeline)
