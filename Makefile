# Every target sets up what it needs. Override e.g.: make demo PYTHON=python3.12 TORCH="torch torchvision"
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.14.1 torchvision==0.29.1
BIN = $(VENV)/bin
PIP = $(BIN)/pip --disable-pip-version-check

.PHONY: setup demo test test-slow lint docs data table benchmark clean

setup: $(VENV)/.done

# torch first, because BasicSR is built against it (see animevsr_cli/install_basicsr.py)
$(VENV)/.done: setup.py animevsr_cli/install_basicsr.py Makefile
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet setuptools wheel
	$(PIP) install --quiet $(TORCH)
	$(BIN)/python animevsr_cli/install_basicsr.py
	$(PIP) install --quiet --no-build-isolation --editable '.[test,recipes]'
	touch $@

demo: setup  ## upscale the bundled clip 4x into demo.mp4 and draw before-and-after pictures
	$(BIN)/animevsr upscale assets/demo/cartoon.avi -o demo.mp4
	$(BIN)/python assets/demo/compare.py assets/demo/cartoon.avi demo.mp4 demo.png

test: setup lint  ## the whole test suite, two tests at a time
	$(BIN)/python -m pytest -q -n 2 tests

test-slow: setup  ## the few tests that take longest
	$(BIN)/python -m pytest -q -n 2 tests --slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: setup  ## the documentation as a site in build/site; a broken link fails
	$(PIP) install --quiet mkdocs-material "mkdocstrings[python]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

data: setup  ## fetch the open sources and compose the training and the held-out clips (needs Debian and npm)
	$(BIN)/python recipes/open_animation/build.py

table: setup  ## quality of the bundled weights on the held-out clips and low-quality frames, beside bicubic
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/vqgan.py
	$(BIN)/python benchmarks/lbo.py

benchmark: setup  ## speed of the network, of upscaling, of the codebook search and of degradation beside training
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/quantizer.py
	$(BIN)/python benchmarks/overlap.py
	$(BIN)/python benchmarks/inference.py

clean:
	rm -rf $(VENV) build *.egg-info demo.mp4 demo.png .pytest_cache .ruff_cache
