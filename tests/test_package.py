"""The package as it is installed: files, console script, registration."""

import shutil
import subprocess
import sys

import pytest
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)
from conftest import REPO, decode, moving_frames, run_python, write_video

import animevsr

REGISTERED = "from basicsr.utils.registry import ARCH_REGISTRY\nassert 'MSRBVSR' in ARCH_REGISTRY"


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The package installed into an empty folder, from a copy of what git would hand over."""
    copy, target = (tmp_path_factory.mktemp(name) for name in ('copy', 'site'))
    for name in ('animevsr', 'animevsr_cli', 'options', 'weights'):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md'):
        shutil.copy(REPO / name, copy)
    run_python(
        '-m',
        'pip',
        'install',
        '--quiet',
        '--no-deps',
        '--no-build-isolation',
        '--target',
        target,
        copy,
        cwd=copy,
    )
    return target


@pytest.mark.slow
def test_everything_is_installed(installed):
    for path in [*REPO.glob('options/*/*.yml'), *REPO.glob('weights/*.pth')]:
        assert (installed / 'animevsr' / path.relative_to(REPO)).read_bytes() == path.read_bytes()
    for path in REPO.glob('animevsr/**/*.html'):
        assert (installed / path.relative_to(REPO)).read_bytes() == path.read_bytes()
    assert not (installed / 'tests').exists() and (installed / 'bin/animevsr').exists()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['bdist_wheel', 'sdist'])
def test_a_release_installs_into_a_new_environment_and_upscales(kind, tmp_path):
    """Built from what git would hand over; dependencies are those of this environment."""
    copy, place = tmp_path / 'copy', tmp_path / 'Films – été'
    copy.mkdir()
    place.mkdir()
    for name in ('animevsr', 'animevsr_cli', 'options', 'weights'):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'MANIFEST.in'):
        if (REPO / name).exists():
            shutil.copy(REPO / name, copy)
    run_python('setup.py', '-q', kind, cwd=copy)
    (release,) = (copy / 'dist').iterdir()
    shutil.rmtree(copy / 'animevsr')
    run_python('-m', 'venv', '--without-pip', tmp_path / 'env', cwd=tmp_path)
    python = next(p for p in (tmp_path / 'env/bin/python', tmp_path / 'env/Scripts/python.exe') if p.exists())
    site = next((tmp_path / 'env').rglob('site-packages'))
    run_python(
        *('-m', 'pip', 'install', '-q', '--no-deps', '--no-build-isolation', '--target', site, release),
        cwd=place,
    )
    # what is installed beside it, but not the editable install of the repository
    (site / 'others.pth').write_text('\n'.join(p for p in sys.path if p.endswith('-packages')))
    shutil.copy(REPO / 'assets/demo/cartoon.avi', place / 'ein Film.avi')
    code = 'import animevsr; print(animevsr.__file__)'
    where = subprocess.run([python, '-c', code], capture_output=True, text=True, cwd=place, check=True).stdout
    assert str(site) in where
    command = ['upscale', 'ein Film.avi', '-o', 'größer.mkv', '-n', 'animevsr_x4_lite', '--end', '3f']
    done = subprocess.run(
        [python, '-m', 'animevsr_cli', *command, '--backend', 'torch'],
        capture_output=True,
        text=True,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    assert decode(place / 'größer.mkv')[0].shape == (3, 1200, 1600, 3)


@pytest.mark.slow
def test_console_script_runs_from_another_directory(installed, tmp_path):
    write_video(tmp_path / 'in.mp4', moving_frames(2, 16, 20))
    done = run_python(
        installed / 'bin/animevsr',
        'upscale',
        'in.mp4',
        '-o',
        'out.mp4',
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert 'out.mp4: 2 frames, 80x64' in done.stdout
    assert decode(tmp_path / 'out.mp4')[0].shape == (2, 64, 80, 3)
    found = run_python(
        '-c',
        "from animevsr.utils.resources import find; print(find('options/tiny/net.yml').resolve())",
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    ).stdout
    assert found.startswith(str(installed))


ORDERS = [
    'import basicsr, animevsr',
    'import animevsr, basicsr',
    'import animevsr, basicsr.train, animevsr.archs',
]


@pytest.mark.slow
@pytest.mark.parametrize('order', ORDERS)
def test_imports_in_any_order(order, tmp_path):
    run_python('-c', f'{order}\n{REGISTERED}', cwd=tmp_path)


@pytest.mark.slow
def test_works_with_a_basicsr_that_nobody_corrected(tmp_path):
    """Where pip alone could install BasicSR, its import of the removed torchvision module is still there."""
    import basicsr

    shutil.copytree(
        next(iter(basicsr.__path__)), tmp_path / 'basicsr', ignore=shutil.ignore_patterns('__pycache__')
    )
    file = tmp_path / 'basicsr/data/degradations.py'
    text = file.read_text()
    file.write_text(
        text.replace(
            'torchvision.transforms.functional import rgb',
            'torchvision.transforms.functional_tensor import rgb',
        )
    )
    assert 'functional_tensor import' in file.read_text()
    code = f'import animevsr, basicsr\n{REGISTERED}\nprint(basicsr.__file__)'
    assert str(tmp_path) in run_python('-c', code, cwd=tmp_path, PYTHONPATH=f'{tmp_path}:{REPO}').stdout


def test_what_is_registered():
    """All names, which other projects write into their YAML files: none is lost or renamed."""
    ours = {
        name: {key for key, value in registry._obj_map.items() if value.__module__.startswith('animevsr.')}
        for name, registry in dict(
            arch=ARCH_REGISTRY,
            dataset=DATASET_REGISTRY,
            model=MODEL_REGISTRY,
            loss=LOSS_REGISTRY,
            metric=METRIC_REGISTRY,
        ).items()
    }
    assert ours == dict(
        arch={
            'ClipBasicVSR',
            'ClipRRDBNet',
            'ClipUNetDiscriminatorSN',
            'LearnableBasicOperator',
            'MSRBVSR',
            'MultiScalePatchDiscriminator',
            'MultiScaleVQGAN',
            'ProbabilisticDegradation',
            'RealBasicVSR',
        },
        dataset={
            'ClipPairDataset',
            'DegradedClipDataset',
            'LowQualityFrameDataset',
            'PairedFrameDataset',
            'UnpairedFrameDataset',
        },
        model={
            'LBOGANModel',
            'LBOModel',
            'PDMModel',
            'RecurrentVSRGANModel',
            'RecurrentVSRModel',
            'VQGANModel',
        },
        loss={'EdgeCharbonnierLoss', 'L1L2Loss', 'LPIPSLoss', 'VGGPerceptualLoss'},
        metric={
            'calculate_cut_bleed_clip',
            'calculate_flicker_clip',
            'calculate_hyperiqa_pt',
            'calculate_line_width_pt',
            'calculate_niqe_pt',
        },
    )
    assert {'load_network', 'upscale', '__version__'} <= set(animevsr.__all__)


def test_setup_is_static(tmp_path):
    """Metadata must be there before torch is."""
    for name in ('torch', 'basicsr', 'animevsr'):
        (tmp_path / f'{name}.py').write_text(f"raise SystemExit('{name} was imported')")
    done = run_python(REPO / 'setup.py', '--version', cwd=REPO, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip().splitlines()[-1] == animevsr.__version__
