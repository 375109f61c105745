"""Give a rig of morevnaproject/characters (CC0, rigs.tar.xz) random joint motion and render it with synfig.

The rigs keep every joint angle and the mouth, head and hand switches as named values in `<defs>`; a
named value is replaced by an animated one. RGBA frames at 24 per second come out.
"""

import random
import re
import shutil
import subprocess
from pathlib import Path

# half the range of a joint's random angle, in degrees, by the joint's name
SWING = {'body': 6, 'head': 12, 'elbow': 35, 'wrist': 35, 'palm': 25, 'knee': 10, 'hip': 10, 'toe': 6}
# switch -> (values it can take, frames between changes, probability of a change)
SWITCHES = {
    'switch-mimic': ([0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1], 3, 0.7),
    'switch-palm-r': ([0, 1, 2, 3, 4], 12, 0.3),
    'switch-palm-l': ([0, 1, 2, 3, 4], 12, 0.3),
}
HEAD_TURN = ([-4.5, -3.5, -3.5, -3.5, -2.5], 12, 0.3)  # works on the saha-front rig only


def animate(text, rng, head_turn=False):
    """Synfig source with random motion of two seconds in place of the fixed joint values."""

    def joint(match):
        angle, name = float(match[1]), match[2]
        plain = re.sub(r'[^a-z]', '', name.replace('(stk)', ''))
        swing = next((SWING[part] for part in SWING if plain.startswith(part)), None)
        if swing is None or not name.endswith('-t'):
            return match[0]
        points = ''.join(
            f'<waypoint time="{t}s" before="halt" after="halt">'
            f'<angle value="{angle + rng.uniform(-swing, swing):.4f}"/></waypoint>'
            for t in (0, 0.5, 1, 1.5, 2)
        )
        return f'<animated type="angle" id="{name}">{points}</animated>'

    text = re.sub(r'<angle value="([-\d.]+)" id="(\(stk\)-[^"]+)"/>', joint, text)
    switches = {**SWITCHES, **({'switch-head-turn': HEAD_TURN} if head_turn else {})}
    for name, (values, every, chance) in switches.items():
        value, points = rng.choice(values), ''
        for frame in range(0, 48, every):
            value = rng.choice(values) if rng.random() < chance else value
            points += (
                f'<waypoint time="{frame}f" before="constant" after="constant">'
                f'<real value="{value}"/></waypoint>'
            )
        text = re.sub(
            rf'<real value="[-\d.]+"(?: interpolation="constant")? id="\(stk\)-{name}"/>',
            f'<animated type="real" id="(stk)-{name}">{points}</animated>',
            text,
        )
    return re.sub(r'end-time="[^"]*"', 'end-time="2s"', text, count=1)


def render(source, out, seed, frames, height=960):
    """Write `frames` RGBA PNG drawings of the moving rig into a folder: there when all of them are."""
    if shutil.which('synfig') is None:
        raise SystemExit('the program synfig is missing (Debian: apt-get install synfig)')
    partial = Path(out).with_name(f'{Path(out).name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # beside the source, because a rig names its parts by relative paths
    moving = source.with_name(f'.moving_{seed}.sif')
    moving.write_text(
        animate(source.read_text(encoding='utf8'), random.Random(seed), 'saha-front' in source.name),
        encoding='utf8',
    )
    try:
        subprocess.run(
            [
                'synfig',
                str(moving),
                '-t',
                'png',
                '-o',
                str(partial.resolve() / 'f.png'),
                '-h',
                str(height),
                '-w',
                str(height * 16 // 9),
                '--begin-time',
                '0f',
                '--end-time',
                f'{frames - 1}f',
                '-q',
            ],
            check=True,
            capture_output=True,
            timeout=600,
        )
    finally:
        moving.unlink()
    partial.rename(out)
