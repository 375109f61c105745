"""The trainings behind the tables of VQD-SR, and what each needs: data, not code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name (str): of the experiment.
        paper, tiny (str): YAML files below options/.
        options (tuple[str]): KEY:KEY=VALUE; {NAME} stands for the weights of another stage, or for a cleaned
            training set.
        after (tuple[Stage | Enhanced]): what those options name, which must be there before.
        learned (tuple): (operator, Stage, {argument: value}): in the YAML's degradation, the operator takes
            the network that this stage trained, and these arguments.
        iterations (int): at the scale `tiny`.
    """

    name: str
    paper: str
    tiny: str
    options: tuple = ()
    after: tuple = ()
    learned: tuple = ()
    iterations: int = 150

    @property
    def needs(self) -> tuple:
        """All that must be there before."""
        return *self.after, *(stage for _, stage, _ in self.learned)


@dataclass(frozen=True)
class Enhanced:
    """A training set whose ground truth was cleaned by a model (HR-SR)."""

    name: str
    model: str


@dataclass(frozen=True)
class Released:
    """Weights that others released, as they are; only at the scale `paper`."""

    name: str
    file: str
    paper: str  # a YAML with its network


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, what the paper says of it, the training whose result is measured, and
    whether it must be asked for.
    """

    name: str
    paper: dict
    stage: Stage | Released
    extra: bool = False


def backbone(name: str, *options: Any, after: Any = (), learned: Any = (), suffix: str = '') -> Stage:
    iterations = 100 if 'basicvsr' in name else 150  # their optical flow takes its time on a CPU
    return Stage(
        name + suffix,
        f'backbones/{name}.yml',
        f'tiny/backbones/{name}.yml',
        options,
        after,
        learned,
        iterations,
    )


def gan(
    suffix: str,
    *options: Any,
    after: Any = (),
    vqgan: Any = None,
    file: str = 'vqd_sr/gan.yml',
    **arguments: Any,
) -> Stage:
    """VQD-SR's second stage, with the degradation that a VQGAN learned."""
    return Stage(
        f'vqd_sr{suffix}',
        file,
        'tiny/gan.yml',
        ('path:pretrain_network_g={net}', *options),
        (NET, *after),
        (('vq', vqgan or FULL, arguments),),
    )


LARGE, SMALL, BY_ANIMESR = (
    Enhanced('hrsr_large', 'realesrgan-x4plus-anime'),
    Enhanced('hrsr_small', 'realesr-animevideov3'),
    Enhanced('hrsr_animesr', 'animesr_v2'),
)
NET = Stage('net', 'vqd_sr/net.yml', 'tiny/net.yml', iterations=250)
TOP = Stage('vqgan_top', 'vqgan/top.yml', 'tiny/vqgan_top.yml', iterations=200)
FULL = Stage(
    'vqgan_full',
    'vqgan/full.yml',
    'tiny/vqgan_full.yml',
    ('path:pretrain_network_g={vqgan_top}',),
    (TOP,),
    iterations=100,
)
SINGLE_STAGE = Stage(
    'vqgan_single_stage',
    'vqgan/single_stage.yml',
    'tiny/vqgan_full.yml',
    ('path:pretrain_network_g=~', 'path:strict_load_g=true', 'train:lr_factors=~'),
    iterations=150,
)
SINGLE_SCALE = Stage('vqgan_single_scale', 'vqgan/single_scale.yml', 'tiny/vqgan_top.yml', iterations=300)
ANIMESR_NET = Stage('animesr_net', 'animesr/step1_net.yml', 'tiny/animesr/step1_net.yml', iterations=250)
PRETRAINED = 'path:pretrain_network_g={animesr_net}'
CLEAN = 'datasets:train:dataroot_gt={%s}'
# the paper's operators were learned from three videos that nobody else has: the bundled ones stand in for
# them
POOL = 'datasets:train:degradation=' + repr(
    ['blur', 'noise', {'down_or_lbo': {}}, {'down_or_lbo': {}}, {'codec': 'h264'}]
)
ANIMESR = Stage(
    'animesr', 'animesr/step3_gan.yml', 'tiny/animesr/step3_gan.yml', (PRETRAINED, POOL), (ANIMESR_NET,)
)
PDM = backbone('pdm_degradation')
PDM_SR = backbone('pdm', learned=(('pdm', PDM, {}),))
BASE = gan('')
HRSR = gan('_hrsr_small', CLEAN % SMALL.name, after=(SMALL,))
VQ = (('vq', FULL, {}),)


def fine_tuned(name: str, title: str, file: str) -> tuple[Row, Row]:
    """Two rows: the released weights, and those after fine-tuning on AVC-Train."""
    return (
        Row(
            f'{title}, released',
            {},
            Released(f'{name}_released', f'experiments/pretrained_models/{file}', f'backbones/{name}.yml'),
        ),
        Row(f'{title}, fine-tuned', {}, backbone(name)),
    )


TABLES = {
    'table1': (
        'VQD-SR, table 1: comparison with other methods',
        (
            Row('BasicVSR*', dict(params=6.29, ms=175, maniqa=0.2829), backbone('basicvsr')),
            Row('PDM*', dict(params=16.70, ms=438, maniqa=0.2574), PDM_SR),
            Row('Real-ESRGAN*', dict(params=16.70, ms=438, maniqa=0.3825), backbone('realesrgan')),
            Row('BSRGAN*', dict(params=16.70, ms=438, maniqa=0.3836), backbone('bsrgan')),
            Row('RealBasicVSR*', dict(params=6.29, ms=252, maniqa=0.3504), backbone('realbasicvsr')),
            Row('AnimeSR', dict(params=1.50, ms=26, maniqa=0.3832), ANIMESR),
            Row('VQD-SR', dict(params=1.47, ms=25, maniqa=0.4096), HRSR),
        ),
    ),
    'table2': (
        'VQD-SR, table 2: ablation of the degradation model',
        (
            Row('VQD-SR (base)', dict(maniqa=0.3857), BASE),
            Row(
                '(a) BasicOP-Only',
                dict(maniqa=0.3768),
                backbone('vqd_sr_basic', 'path:pretrain_network_g={net}', after=(NET,)),
            ),
            Row('(b) Single-scale', dict(maniqa=0.3466), gan('_single_scale', vqgan=SINGLE_SCALE)),
            Row('(c) Single-stage', dict(maniqa=0.3430), gan('_single_stage', vqgan=SINGLE_STAGE)),
            Row('(d) Nearest', dict(maniqa=0.3770), gan('_nearest', k=1)),
            # the choice of K, which the paper tells without numbers
            *(
                Row(
                    f'k{k}',
                    {},
                    gan(f'_k{k}', file=f'vqgan/ablation/k_{k}.yml', k=(1, k) if k > 1 else 1),
                    extra=True,
                )
                for k in (1, 10, 50, 100)
            ),
        ),
    ),
    'table3': (
        'VQD-SR, table 3: VQ degradation with other networks',
        (
            Row('Real-ESRGAN*, original', dict(params=16.7, maniqa=0.3825), backbone('realesrgan')),
            Row('Real-ESRGAN*, VQ', dict(params=16.7, maniqa=0.3967), backbone('realesrgan_vq', learned=VQ)),
            Row('RealBasicVSR*, original', dict(params=6.3, maniqa=0.3504), backbone('realbasicvsr')),
            Row(
                'RealBasicVSR*, VQ', dict(params=6.3, maniqa=0.3849), backbone('realbasicvsr_vq', learned=VQ)
            ),
            Row('AnimeSR, original', dict(params=1.5, maniqa=0.3832), ANIMESR),
            Row(
                'AnimeSR, VQ',
                dict(params=1.5, maniqa=0.3857),
                backbone('animesr_vq', PRETRAINED, after=(ANIMESR_NET,), learned=VQ),
            ),
        ),
    ),
    'table4': (
        'VQD-SR, table 4: models for HR-SR enhancement',
        (
            Row('No Enhancement', dict(maniqa=0.3857), BASE),
            Row(
                'AnimeSR',
                dict(maniqa=0.4146),
                gan('_hrsr_animesr', CLEAN % BY_ANIMESR.name, after=(BY_ANIMESR,)),
            ),
            Row(
                'Real-ESRGAN (L)', dict(maniqa=0.4211), gan('_hrsr_large', CLEAN % LARGE.name, after=(LARGE,))
            ),
            Row('Real-ESRGAN (S)', dict(maniqa=0.4096), HRSR),
        ),
    ),
    'table5': (
        'VQD-SR, table 5: HR-SR enhancement with other networks',
        (
            Row('RealBasicVSR', dict(maniqa=0.3504), backbone('realbasicvsr')),
            Row(
                'RealBasicVSR, HR-SR',
                dict(maniqa=0.3855),
                backbone('realbasicvsr', CLEAN % SMALL.name, after=(SMALL,), suffix='_hrsr'),
            ),
            Row('AnimeSR', dict(maniqa=0.3832), ANIMESR),
            Row(
                'AnimeSR, HR-SR',
                dict(maniqa=0.4079),
                Stage(
                    'animesr_hrsr',
                    ANIMESR.paper,
                    ANIMESR.tiny,
                    (PRETRAINED, POOL, CLEAN % SMALL.name),
                    (ANIMESR_NET, SMALL),
                ),
            ),
            Row('VQD-SR', dict(maniqa=0.3857), BASE),
            Row('VQD-SR, HR-SR', dict(maniqa=0.4096), HRSR),
        ),
    ),
    'supplement4': (
        'AnimeSR, supplement Sec. 4: other methods before and after fine-tuning on AVC-Train',
        (
            *fine_tuned('bsrgan', 'BSRGAN', 'BSRGAN.pth'),
            *fine_tuned('realesrgan', 'Real-ESRGAN', 'RealESRGAN_x4plus.pth'),
            *fine_tuned('realbasicvsr', 'RealBasicVSR', 'RealBasicVSR_x4.pth'),
        ),
    ),
}


def in_order(stages: Iterator | list[Stage] | tuple) -> list:
    """[Stage | Enhanced]: each once, after what it needs. Released weights are no work."""
    found = []
    for stage in stages:
        if not isinstance(stage, Released):
            found += [s for s in (*in_order(getattr(stage, 'needs', ())), stage) if s not in found]
    return found
