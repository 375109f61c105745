"""The console script `animevsr`: all its commands.

A command is two functions that stand together: `add_NAME` says what it is given, `run_NAME` calls one
function of the package and prints what came of it.
"""

from __future__ import annotations

import argparse

from animevsr_cli.arguments import FORMATTER
from animevsr_cli.config import parse
from animevsr_cli.guard import end_on_sigterm
from animevsr_cli.measuring_commands import (
    add_bench,
    add_compare,
    add_doctor,
    add_evaluate,
    add_export,
    add_models,
    add_verify,
    add_votes,
)
from animevsr_cli.texts import EXIT_CODES, ROOT
from animevsr_cli.training_commands import (
    add_atlas,
    add_curate,
    add_enhance,
    add_learn,
    add_pack,
    add_reproduce,
    add_rescale,
)
from animevsr_cli.upscale_commands import add_app, add_join, add_preview, add_upscale

COMMANDS = (  # in the order of `--help`
    add_upscale,
    add_preview,
    add_app,
    add_join,
    add_verify,
    add_models,
    add_doctor,
    add_bench,
    add_export,
    add_evaluate,
    add_compare,
    add_votes,
    add_learn,
    add_rescale,
    add_enhance,
    add_curate,
    add_pack,
    add_reproduce,
    add_atlas,
)


def main(argv: list[str] | None = None) -> None:
    args = parse(*build(), argv)
    end_on_sigterm()
    args.run(args)


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    return build()[0]


def build() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """(`parser`, in it that of `upscale`)."""
    root = argparse.ArgumentParser(
        prog='animevsr', description=ROOT, formatter_class=FORMATTER, epilog=EXIT_CODES
    )
    commands, made = root.add_subparsers(dest='command', metavar='COMMAND', required=True), {}

    def command(name, run, summary, text=None):
        made[name] = commands.add_parser(name, help=summary, description=text, formatter_class=FORMATTER)
        made[name].set_defaults(run=run)
        return made[name]

    for add in COMMANDS:
        add(command)
    command('setup', run_setup, 'install BasicSR, which pip alone cannot')
    return root, made['upscale']


def run_setup(args: argparse.Namespace) -> None:
    from animevsr_cli import install_basicsr

    install_basicsr.main()
