"""What each command does: it calls one function of the package, and prints what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr_cli.arguments import build
from animevsr_cli.config import parse, settings_of
from animevsr_cli.texts import LEARN_SIZES

if TYPE_CHECKING:
    import argparse


def run_upscale(args: argparse.Namespace) -> None:
    """Call `animevsr.upscale` and say what was done."""
    options = settings_of(args)
    if guarded(
        lambda animevsr: animevsr.upscaling.is_batch(args.input), f'nothing was written at {args.output}'
    ):
        run_batch(args, options)
        return
    if args.dry_run:
        print(
            guarded(
                lambda animevsr: animevsr.estimate(args.input, args.output, **options), 'nothing is written'
            )
        )
        return
    done = guarded(
        lambda animevsr: animevsr.upscale(args.input, args.output, progress=True, **options),
        f'nothing was written at {args.output}; rerun the command to resume',
    )
    if done.missing:
        print(f'{done.output}: this part is done, {done.missing} of {done.shots} shots left to other parts')
        return
    out = sys.stderr if str(done.output) == '-' else sys.stdout  # there goes the video
    held = f', {done.held:.0%} held' if args.reuse and done.held is not None else ''
    again = f', {done.resumed} of {done.shots} shots were there already' if done.resumed else ''
    print(
        f'{done.output}: {done.frames} frames, {done.width}x{done.height}, {done.seconds:.1f} s '
        f'({done.fps:.2f} frames a second{held}){again}',
        file=out,
    )


def run_join(args: argparse.Namespace) -> int:
    """Call `join_parts`."""

    def run(_):
        from animevsr.upscaling.joining import join_parts

        return join_parts(args.output)

    print(guarded(run, f'nothing was written at {args.output}'))


def run_batch(args: argparse.Namespace, options: Any) -> None:
    """Call `animevsr.upscale_folder`; the exit code tells whether all went well."""
    if args.dry_run:
        print_estimates(args, options)
        return
    done = guarded(
        lambda animevsr: animevsr.upscale_folder(args.input, args.output, progress=True, **options),
        'rerun the command to resume',
    )
    for path, what in done.items():
        print(f'{path}: {what}')
    failed = sum(what.startswith('failed') for what in done.values())
    parts = sum(what.startswith('part done') for what in done.values())
    left = sum(what.startswith('left out') for what in done.values())
    print(
        f'{len(done) - failed - parts - left} done, {failed} failed'
        + (f', {left} left out' if left else '')
        + (f', {parts} with shots left to other parts' if parts else '')
    )
    if failed:
        sys.exit(1)


def print_estimates(args: argparse.Namespace, options: Any) -> None:
    """What each video of a folder would take, and all of them."""

    def run(animevsr):
        seconds = 0.0
        for video, found in animevsr.upscaling.estimate_folder(args.input, args.output, **options):
            print(f'{video}: {found}')
            if not isinstance(found, str):
                seconds += found.seconds or 0
        return animevsr.upscaling.duration(seconds)

    print(f'in all about {guarded(run, "nothing is written")}')


def run_learn(args: argparse.Namespace) -> None:
    """Run the two stages, each as a training process of its own."""
    import torch

    frames, gpus = Path(args.frames).resolve(), torch.cuda.device_count()
    start = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(gpus)] if gpus > 1 else []
    name = args.name or frames.name
    note = Path(f'experiments/{name}_frames.txt')
    if note.exists() and note.read_text() != str(frames):
        sys.exit(
            f'animevsr: experiments/{name}_* were learned from {note.read_text()}; choose another --name for'
            f' {frames}'
        )
    if frames.is_dir():
        note.parent.mkdir(exist_ok=True)
        note.write_text(str(frames))
    for stage in ('top', 'full'):
        options = [
            f'name={name}_{stage}',
            f'datasets:train:dataroot_lq={frames}',
            f'datasets:val:dataroot_lq={frames}',
            'datasets:val:max_frames=24',
        ]
        if stage == 'full':
            options.append(f'path:pretrain_network_g=experiments/{name}_top/models/net_g_latest.pth')
        command = [
            sys.executable,
            *start,
            '-m',
            'animevsr.train',
            '-opt',
            LEARN_SIZES[args.size].format(stage),
            '--auto_resume',
            '--launcher',
            'pytorch' if start else 'none',
            '--force_yml',
        ]
        try:
            code = subprocess.call([*command, *options, *args.set])
        except KeyboardInterrupt:
            code = 130
        if code:
            sys.exit(code)
    print(f'experiments/{name}_full/models/net_g_latest.pth')


def run_rescale(args: argparse.Namespace) -> None:
    """Call `animevsr.rescale` and print the ranking, or how to train with the pairs."""
    output = Path(args.output or f'{Path(args.video.rstrip("/")).stem}_rescaled')
    options = {
        name: getattr(args, name)
        for name in ('weights', 'factor', 'patches', 'patch_size', 'max_frames', 'device', 'resize')
    }
    interrupted = 'nothing was written' if args.factor is None else 'rerun the command to resume'
    done = guarded(
        lambda animevsr: animevsr.rescale(args.video, output, progress=True, **options), interrupted
    )
    if args.factor is None:
        for place, (factor, relative) in enumerate(done.ranking, 1):
            print(f'{place:2}. factor {factor:g}  relative score {relative:.3f}')
        print(
            f'Open {output}/choose.html in a browser and choose; it shows the command that makes the pairs.'
        )
    else:
        print(
            f'{done}: {len(list((done / "lq").glob("*.png")))} pairs; train with dataroot_gt: {done}/gt and'
            f' dataroot_lq: {done}/lq'
        )


def run_enhance(args: argparse.Namespace) -> None:
    """Call `animevsr.enhance` and say what was done."""
    options = dict(tile=args.tile, device=args.device, jobs=args.jobs, part=args.part)
    written = guarded(
        lambda animevsr: animevsr.enhance(args.in_root, args.out_root, args.model, progress=True, **options),
        'rerun the command to resume',
    )
    print(f'{args.out_root}: {written} frames written')


def run_app(args: argparse.Namespace) -> None:
    """Call `animevsr.app.page.serve`."""

    def run(_):
        try:
            from animevsr.app.page import serve
        except ModuleNotFoundError as error:
            raise ValueError(f"the app needs the package {error.name}; run: pip install '.[app]'") from None
        serve(args.host, args.port, args.password, args.device, lambda text: print(text, file=sys.stderr))

    guarded(run, 'what runs goes on with the next start')


def run_curate(args: argparse.Namespace) -> None:
    """Call `animevsr.curate_clips` or `curate_frames`; the exit code tells whether all went well."""
    own = dict(
        clips=('frames', 'least_height', 'least_rate', 'least_quality', 'motion', 'held', 'text', 'hyperiqa'),
        frames=('change',),
    )
    given = {name: getattr(args, name) for names in own.values() for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if foreign := sorted(set(given) - set(own[args.what])):
        sys.exit(f'animevsr: --{foreign[0].replace("_", "-")} is no option of curate {args.what}')
    if args.per_video is not None:
        given['per_video'] = args.per_video

    def run(animevsr):
        call = animevsr.curate_clips if args.what == 'clips' else animevsr.curate_frames
        return call(args.root, args.output, jobs=args.jobs, cluster=args.cluster, progress=True, **given)

    failed = guarded(run, 'rerun the command to resume')
    for name, why in failed.items():
        print(f'{name}: {why}'.encode('utf8', 'replace').decode())
    seen = dict(clips='report.html shows what was kept and why', frames='damage.md counts their damage')
    print(f'{args.output}: {seen[args.what]}')


def run_pack(args: argparse.Namespace) -> None:
    """Call `animevsr.pack_clips`; the exit code tells whether all went well."""
    failed = guarded(
        lambda animevsr: animevsr.pack_clips(args.root, args.output, args.jobs, progress=True),
        'rerun the command to resume',
    )
    for name, why in failed.items():
        print(f'{name}: failed: {why}')
    print(f'{args.output}: packed; train with dataroot_gt: {args.output}')
    if failed:
        sys.exit(1)


def run_evaluate(args: argparse.Namespace) -> None:
    """Call `animevsr.evaluate`, print the table and write it."""
    methods = named_methods(args.methods)

    def run(animevsr):
        from animevsr.evaluation.tables import check_output, markdown, write_table

        for path in args.output:
            check_output(path)
        done = animevsr.evaluate(
            methods,
            args.lq,
            args.gt,
            args.metrics,
            args.every,
            args.device,
            progress=True,
            steady=args.steady,
        )
        print(markdown(done), end='', flush=True)  # first: it is there even if a file cannot be written
        for path in args.output:
            write_table(done, path)

    guarded(run, 'nothing was written')


def run_compare(args: argparse.Namespace) -> None:
    """Call `animevsr.compare`."""
    options = dict(
        frames=args.frames,
        quality=args.quality,
        gt=args.gt,
        metrics=args.metrics,
        device=args.device,
        progress=True,
        study=args.study,
    )
    methods = named_methods(args.methods)
    print(
        guarded(
            lambda animevsr: animevsr.compare(methods, args.output, **options),
            f'nothing was written at {args.output}',
        )
    )


def run_preview(args: argparse.Namespace) -> None:
    """Call `animevsr.preview` and print where the pictures are, and what the whole would take."""
    options = dict(models=args.models, at=args.at, count=args.count, device=args.device, progress=True)
    done = guarded(
        lambda animevsr: animevsr.preview(args.video, args.output, **options),
        f'{args.output} may be incomplete',
    )
    print(f'{done.page}\n{done.sheet}')
    for model, hours in done.hours.items():
        long = f'{hours:.1f} h' if hours >= 1 else f'{hours * 60:.0f} min'
        print(f'{model}: about {long} for the whole video on this machine, without --reuse')


def run_doctor(args: argparse.Namespace) -> None:
    """Print what `doctor` finds."""

    def run(_):
        from animevsr.evaluation.doctor import doctor

        return doctor()

    print(guarded(run, 'nothing was changed'))


def run_votes(args: argparse.Namespace) -> Any:
    """Call `votes` and print the shares."""

    def run(_):
        from animevsr.evaluation.votes import votes

        return votes(args.files)

    for pair in guarded(run, 'nothing was counted'):
        low, high = pair.interval
        print(
            f'{pair.a} : {pair.b}  {pair.share:.1%} of {pair.votes} votes for {pair.a}, 95 % interval'
            f' {low:.1%} to {high:.1%}'
        )


def run_reproduce(args: argparse.Namespace) -> Any:
    """Call `animevsr.reproduce` and print the table."""
    options = {
        name: getattr(args, name)
        for name in ('scale', 'gt', 'lq', 'ral', 'test', 'rows', 'iterations', 'device')
    }

    def run(_):
        from animevsr.reproduce import reproduce

        return reproduce(args.table, progress=True, **options)

    print(guarded(run, 'rerun the command to resume'), end='')


def run_verify(args: argparse.Namespace) -> None:
    """Call `animevsr.verify`, print its lines."""
    checks = guarded(
        lambda animevsr: animevsr.verify(
            args.input, args.output, args.every, args.start, args.end, args.crop
        ),
        'nothing was written',
    )
    for check in checks:
        print(f'{"ok  " if check.ok else "FAIL"}  {check.name}: {check.what}')
    if not all(check.ok for check in checks):
        sys.exit(1)


def run_export(args: argparse.Namespace) -> None:
    """Call `animevsr.export`."""
    done = guarded(
        lambda animevsr: animevsr.export(args.weights, args.output, args.to),
        f'nothing was written at {args.output}',
    )
    print(f'{done.path}: largest difference from PyTorch {done.difference:.2g}')


def run_bench(args: argparse.Namespace) -> Any:
    """Call `bench` and print its table."""

    def run(_):
        from animevsr.evaluation.bench import bench

        return bench(args.weights, args.size, args.rounds, args.device)

    print(guarded(run, 'nothing was measured'), end='')


def named_methods(arguments: list[str]) -> dict[str, str]:
    """{name: method} of [NAME=]METHOD."""
    methods = {}
    for method in arguments:
        path = Path(method)
        name, what = (
            method.split('=', 1)
            if '=' in method and not path.exists()
            else (path.name if path.is_dir() else path.stem, method)
        )
        if not name or not what:
            sys.exit(f"animevsr: '{method}': a method is NAME=METHOD, or METHOD alone")
        if name in methods:
            sys.exit(f'animevsr: two methods are named {name}; name them: NAME={what}')
        methods[name] = what
    return methods


def run_atlas(args: argparse.Namespace) -> None:
    """Call `animevsr.atlas` and print its numbers."""
    output = args.output or f'{Path(args.frame).stem}_atlas.png'
    views = guarded(
        lambda animevsr: animevsr.atlas(args.weights, args.frame, output, args.number, args.device),
        f'nothing was written at {output}',
    )
    for view in views[1:]:
        print(f'{view.title:24} {view.psnr:6.2f} dB  structure {view.structure:.2f}')
    print(output)


def run_models(args: argparse.Namespace) -> None:
    """List, fetch or add models."""
    if args.action == 'add' and len(args.names) != 2:
        sys.exit('animevsr: models add FILE NAME')

    def run(_):
        from animevsr import zoo

        if args.action == 'get':
            for name in args.names:
                print(f'{name}: {zoo.get(name)}')
        elif args.action == 'add':
            print(f'{args.names[1]}: {zoo.add(*args.names)}')
        else:
            for name, model in zoo.MODELS.items():
                place = (
                    'here'
                    if zoo.find_file(name)
                    else f'{model.size / 1e6:.0f} MB to fetch'
                    if model.package
                    else 'by hand'
                )
                print(
                    f'{name:24} {model.scale}x  {place:15} {model.licence:22} {model.origin}\n{"":24}'
                    f' {model.what}'
                )

    guarded(run, 'nothing was changed')


def guarded(function: Callable, interrupted: str) -> Any:
    """`function(animevsr)`; every problem with the input is one line and a non-zero exit; so is an interrupt,
    with what it means.
    """
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')  # as is a process that is gone
    os.environ.setdefault('SVT_LOG', '1')  # of AV1's encoder: errors alone
    try:
        import animevsr
        from animevsr.errors import CheckpointError, MediaError
        from animevsr.utils.malloc_tuning import keep_freed_memory
    except ModuleNotFoundError as error:
        remedy = 'animevsr setup' if error.name == 'basicsr' else f'pip install {error.name}'
        sys.exit(f'animevsr: the package {error.name} is missing; run: {remedy}')
    except KeyboardInterrupt:
        sys.exit(130)
    keep_freed_memory()
    warnings.showwarning = lambda message, *_: print(f'animevsr: {message}', file=sys.stderr)
    for kind in (DeprecationWarning, FutureWarning):  # of libraries, to their users: not to ours
        warnings.simplefilter('ignore', kind)
    try:
        return function(animevsr)
    except (MediaError, CheckpointError, ValueError, OSError) as error:
        sys.exit(f'animevsr: {error}')
    except RuntimeError as error:  # of torch and other runtimes: out of memory, a process that is gone
        if os.environ.get('ANIMEVSR_TRACEBACK'):
            raise
        reason = (str(error).splitlines() or [''])[0][:300]
        sys.exit(f'animevsr: {type(error).__name__}: {reason} (ANIMEVSR_TRACEBACK=1 shows where)')
    except KeyboardInterrupt:
        print(f'\nanimevsr: interrupted, {interrupted}', file=sys.stderr)
        sys.exit(130)


def end_on_sigterm() -> None:
    """So that files that are half written are removed, and trainings end with this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main(argv: list[str] | None = None) -> None:
    args = parse(*build(), argv)
    end_on_sigterm()
    if args.command == 'setup':
        from animevsr_cli import install_basicsr

        install_basicsr.main()
        return
    run = dict(
        upscale=run_upscale,
        learn=run_learn,
        rescale=run_rescale,
        enhance=run_enhance,
        evaluate=run_evaluate,
        compare=run_compare,
        verify=run_verify,
        export=run_export,
        bench=run_bench,
        reproduce=run_reproduce,
        atlas=run_atlas,
        models=run_models,
        votes=run_votes,
        preview=run_preview,
        doctor=run_doctor,
        join=run_join,
        pack=run_pack,
        curate=run_curate,
        app=run_app,
    )
    run[args.command](args)
