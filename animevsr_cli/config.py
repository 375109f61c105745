"""Settings of `animevsr upscale` in a TOML file: `--config`, and `--save-config`, which writes one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from animevsr.utils.files import read_toml
from animevsr.utils.options import read_settings

NOT_SETTINGS = ('command', 'run', 'input', 'output', 'config', 'save_config', 'dry_run')


def parse(
    root: argparse.ArgumentParser, up: argparse.ArgumentParser, argv: list[str] | None = None
) -> argparse.Namespace:
    """The arguments of a command line, above those of the file that `--config` names; writes what
    `--save-config` names.

    Args:
        root: the whole parser. up: the one that has the options of `upscale`: in it, or the same.
    """
    complete(root)
    args, others = root.parse_known_args(argv)
    if others:
        several = getattr(args, 'input', None) and all(os.path.exists(other) for other in others)
        hint = '; one input at a time: of several videos name the folder' if several else ''
        root.error(f'unrecognized arguments: {" ".join(others)}{hint}')
    actions = {action.dest: action for action in up._actions if action.dest not in (*NOT_SETTINGS, 'help')}
    defaults = {name: action.default for name, action in actions.items()}
    if getattr(args, 'config', None):
        settings = read_config(args.config, list(actions))
        for name, value in settings.items():
            known = {str(choice): choice for choice in actions[name].choices or ()}  # 420 is text here
            if known and str(value) not in known:
                sys.exit(f'animevsr: {args.config}: {name} must be one of {", ".join(known)}, got {value}')
            settings[name] = known.get(str(value), value)
        up.set_defaults(**settings)
        args = root.parse_args(argv)
    if getattr(args, 'save_config', None):
        write_config(args.save_config, args, defaults)
    return args


def complete(root: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a command line could go on, where argcomplete is installed."""
    if '_ARGCOMPLETE' in os.environ:
        import argcomplete

        argcomplete.autocomplete(root)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `upscale` among the arguments of the command line."""
    return {name: value for name, value in vars(args).items() if name not in NOT_SETTINGS}


def read_config(path: str, known: list[str]) -> dict[str, Any]:
    """The settings of a file, by their names as fields (`no-cuts = true` is `cuts = false`).

    Raises:
        SystemExit: it cannot be read, or has a key that is no setting; one line.
    """
    try:
        settings = read_settings(read_toml(path), known, str(path))
    except ValueError as error:
        sys.exit(f'animevsr: {error}')
    # part, encoder_options
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def write_config(path: str, args: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Write the settings that are not the defaults, as TOML."""
    lines = [
        f'{name} = {as_toml(value)}'
        for name, value in settings_of(args).items()
        if value != defaults[name] and value is not None
    ]
    try:
        Path(path).write_text('\n'.join(['# of animevsr upscale --config', *lines, '']), encoding='utf8')
    except (OSError, UnicodeEncodeError) as error:  # names that are not UTF-8, which TOML is
        sys.exit(f'animevsr: {path}: cannot be written ({getattr(error, "strerror", None) or error})')


def as_toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f'[{", ".join(as_toml(item) for item in value)}]'
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
