"""Arguments that several commands take, and their types."""

from __future__ import annotations

import argparse
from typing import Any

try:  # colours
    from rich_argparse import RawDescriptionRichHelpFormatter as FORMATTER
except ImportError:
    from argparse import RawDescriptionHelpFormatter as FORMATTER

__all__ = ['FORMATTER', 'add_device', 'moment', 'part', 'tile']


def add_device(command: Any, more: str = '') -> None:
    command.add_argument(
        '--device', default='auto', help=f'auto, cpu, cuda, cuda:1, mps{more} (default: %(default)s)'
    )


def moment(text: str) -> float:
    """Seconds, of '83.5', '1:23.5' or '0:01:23.5'."""
    seconds = 0.0
    try:
        for number in text.split(':'):
            seconds = 60 * seconds + float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time; write e.g. 83.5 or 1:23.5") from None
    return seconds


def part(text: str) -> Any:
    """(I, N) of 'I/N'; what it is used for refuses everything else."""
    numbers = text.split('/')
    return (
        tuple(map(int, numbers))
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers)
        else text
    )


def tile(text: str) -> str:
    """A number of pixels, or the word that it is."""
    return int(text) if text.isdecimal() else text
