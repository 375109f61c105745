"""Names of layers in the released weights of compared methods, as BasicSR and this package name them.

| released file | its names | names here |
| --- | --- | --- |
| RealBasicVSR (MMEditing) | `generator.`, `generator_ema.` before all (preferred); `step_counter` | without |
| | `image_cleaning.0.main.N.`, `image_cleaning.1.` | `cleaning.N.`, `cleaning.3.` |
| BasicVSR (MMEditing) | `backward_resblocks.`, `forward_resblocks.` | `backward_trunk.`, `forward_trunk.` |
| | `upsample1.upsample_conv.`, `upsample2.upsample_conv.` | `upconv1.`, `upconv2.` |
| | `spynet.basic_module.N.basic_module.M.conv.` | `spynet.basic_module.N.basic_module.2M.` |
| BSRGAN, PDM (ESRGAN's second naming) | `RRDB_trunk.N.RDBM.`, `trunk_conv.` | `body.N.rdbM.`, `conv_body.` |
| | `upconv1.`, `upconv2.`, `HRconv.` | `conv_up1.`, `conv_up2.`, `conv_hr.` |

The ReLUs of SPyNet are layers here. BasicVSR as BasicSR released it, and Real-ESRGAN, have the names of
BasicSR already.
"""

from __future__ import annotations

import re

GENERATORS = ('generator_ema.', 'generator.')
MMEDITING = (
    (r'^image_cleaning\.0\.main\.', 'cleaning.'),
    (r'^image_cleaning\.1\.', 'cleaning.3.'),
    (r'(^|\.)(back|for)ward_resblocks\.', r'\1\2ward_trunk.'),
    (r'(^|\.)upsample([12])\.upsample_conv\.', r'\1upconv\2.'),
)
ESRGAN = (
    (r'^RRDB_trunk\.(\d+)\.RDB', r'body.\1.rdb'),
    (r'^trunk_conv\.', 'conv_body.'),
    (r'^upconv([12])\.', r'conv_up\1.'),
    (r'^HRconv\.', 'conv_hr.'),
)
SPYNET = re.compile(r'(basic_module\.\d+\.basic_module\.)(\d+)\.conv\.')


def as_ours(state: dict, averaged: bool = True) -> dict:
    """A state dict {name: tensor} under the names of this package; one that has them already is returned as
    it is.

    Args:
        averaged (bool): of a file with two generators, take the averaged one.
    """
    prefixes = [
        p for p in (GENERATORS if averaged else GENERATORS[::-1]) if any(name.startswith(p) for name in state)
    ]
    if prefixes:
        state = {
            name.removeprefix(prefixes[0]): tensor
            for name, tensor in state.items()
            if name.startswith(prefixes[0])
        }
        state.pop('step_counter', None)
    if any('_resblocks.main.' in name for name in state):
        state = {
            SPYNET.sub(lambda m: f'{m[1]}{2 * int(m[2])}.', renamed(name, MMEDITING)): tensor
            for name, tensor in state.items()
        }
    elif any(name.startswith('RRDB_trunk.') for name in state):
        state = {renamed(name, ESRGAN): tensor for name, tensor in state.items()}
    return state


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
