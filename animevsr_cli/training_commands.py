"""The commands that make training data and train: from `learn` to `atlas`."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from animevsr_cli.arguments import add_device, part
from animevsr_cli.guard import guarded
from animevsr_cli.texts import ATLAS, CURATE, ENHANCE, LEARN, LEARN_SIZES, PACK, REPRODUCE, RESCALE

GRACE = 30  # seconds in which an interrupted training ends by itself


def add_learn(command: Callable) -> None:
    learn = command('learn', run_learn, 'learn a degradation from low-quality frames', LEARN)
    learn.add_argument('frames', help='folder that is searched for images and video files')
    learn.add_argument('--name', help='name of the experiment (default: that of the folder)')
    learn.add_argument(
        '--size',
        choices=list(LEARN_SIZES),
        default='small',
        help=(
            'tiny: minutes on a CPU, to try it; small: about two hours of a CPU; paper: GPUs (default:'
            ' %(default)s)'
        ),
    )
    learn.add_argument(
        '--set',
        nargs='*',
        default=[],
        metavar='KEY:KEY=VALUE',
        help='options of both stages, e.g. train:total_iter=9000',
    )


def run_learn(args: argparse.Namespace) -> None:
    """Run the two stages, each as a training process of its own."""
    import torch

    from animevsr.errors import MediaError
    from animevsr.utils.files import check_note, inherited_lock

    frames, gpus = Path(args.frames).resolve(), torch.cuda.device_count()
    start = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(gpus)] if gpus > 1 else []
    name = args.name or frames.name
    if not frames.is_dir() or not any(frames.rglob('*.*')):
        sys.exit(f'animevsr: {args.frames}: {"holds no frames" if frames.is_dir() else "no such folder"}')
    note = Path(f'experiments/{name}_frames.txt')
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        lock = inherited_lock(note.with_name(f'.{name}.lock'))
        if not Path(f'experiments/{name}_top/models').is_dir():  # of a start that failed nothing is kept
            note.unlink(missing_ok=True)
        check_note(
            note,
            str(frames),
            f'experiments/{name}_* were learned from other frames (see {note}); choose another --name for'
            f' {frames}',
        )
    except MediaError as error:
        sys.exit(f'animevsr: {error}')
    except BlockingIOError:
        sys.exit(f'animevsr: another process learns experiments/{name}_*; wait for it, or end it')
    except OSError as error:
        sys.exit(f'animevsr: {note}: cannot be written ({error.strerror})')
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
        code = train([*command, *options, *args.set], lock)
        if code:
            sys.exit(code)
    print(f'experiments/{name}_full/models/net_g_latest.pth')


def train(command: list[str], lock: IO) -> int:
    """Run a training, which holds the lock, too; its exit code. Where this process is to end, the training
    ends, too, in its own way: torchrun takes its workers with it.
    """
    inherited = dict(pass_fds=(lock.fileno(),)) if os.name == 'posix' else {}
    with subprocess.Popen(command, **inherited) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:  # from a terminal the training has got it as well
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
            return 130
        finally:
            if child.poll() is None:
                child.terminate()


def add_rescale(command: Callable) -> None:
    re = command('rescale', run_rescale, 'make training pairs from one low-quality video', RESCALE)
    re.add_argument('video', help='video file or folder of frames')
    re.add_argument(
        '-o', '--output', help='folder for the results (default: <name of the video>_rescaled here)'
    )
    re.add_argument(
        '-n',
        '--weights',
        default='animevsr_x4',
        help=(
            'recurrent network; that of the paper was trained on basic operators alone (default: %(default)s)'
        ),
    )
    re.add_argument(
        '--factor', help='write the pairs of this factor, in (0, 1], or of the file that choose.html saved'
    )
    re.add_argument(
        '--patches', type=int, default=6, help='how many patches are looked at (default: %(default)s)'
    )
    re.add_argument(
        '--patch-size', type=int, default=96, help='their side in pixels of the video (default: %(default)s)'
    )
    re.add_argument(
        '--max-frames',
        type=int,
        default=300,
        help='at most so many pairs, in runs spread evenly over the video (default: %(default)s)',
    )
    re.add_argument(
        '--resize',
        choices=['bicubic', 'lanczos'],
        default='bicubic',
        help='bicubic has antialiasing, lanczos has not, as published (default: %(default)s)',
    )
    add_device(re)


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


def add_enhance(command: Callable) -> None:
    en = command('enhance', run_enhance, 'clean the ground truth of a training set (HR-SR)', ENHANCE)
    en.add_argument('in_root', help='folder that is searched for images and video files')
    en.add_argument('out_root', help='folder for the results')
    en.add_argument(
        '--model',
        required=True,
        help=(
            'weights of any super-resolution network, ours or one that spandrel knows; ncnn:NAME; an ncnn'
            ' .param file'
        ),
    )
    en.add_argument(
        '--tile',
        type=int,
        default=256,
        help='side of the squares worked on; memory depends on it (default: %(default)s)',
    )
    en.add_argument('--jobs', type=int, help='threads that read and write (default: the CPUs, 4 at most)')
    en.add_argument(
        '--part',
        type=part,
        default=(1, 1),
        metavar='I/N',
        help='only every N-th clip from the I-th on, to share the work',
    )
    add_device(en)


def run_enhance(args: argparse.Namespace) -> None:
    """Call `animevsr.enhance` and say what was done."""
    options = dict(tile=args.tile, device=args.device, jobs=args.jobs, part=args.part)
    written = guarded(
        lambda animevsr: animevsr.enhance(args.in_root, args.out_root, args.model, progress=True, **options),
        'rerun the command to resume',
    )
    print(f'{args.out_root}: {written} frames written')


def add_curate(command: Callable) -> None:
    cu = command('curate', run_curate, 'choose training data out of raw video', CURATE)
    cu.add_argument('what', choices=['clips', 'frames'], help='high-quality clips, or low-quality frames')
    cu.add_argument('root', help='folder of videos, searched with all its folders')
    cu.add_argument('-o', '--output', required=True, help='folder for the clips or the frames')
    cu.add_argument('--per-video', type=int, metavar='N', help='at most (default: 10 clips, 20 frames)')
    cu.add_argument('--jobs', type=int, help='processes (default: the CPUs)')
    cu.add_argument('--cluster', metavar='ADDRESS', help='on a Ray cluster instead: auto, or its address')
    cl = cu.add_argument_group('clips')
    cl.add_argument('--frames', type=int, help='of a clip (default: 24)')
    cl.add_argument('--least-height', type=int, metavar='ROWS', help='without black bars (default: 360)')
    cl.add_argument(
        '--least-rate', type=float, metavar='BITS', help='bits a pixel of the file (default: no matter)'
    )
    cl.add_argument('--least-quality', type=float, metavar='Q', help='0 to 100 (default: 35)')
    cl.add_argument(
        '--hyperiqa',
        nargs='?',
        const='',
        metavar='FILE',
        help='quality by hyperIQA, of weights in FILE or downloaded, instead of by our own score',
    )
    cl.add_argument(
        '--motion', type=float, nargs=2, metavar=('MIN', 'MAX'), help='%% of the height a frame (0.05 6)'
    )
    cl.add_argument('--held', type=float, metavar='SHARE', help='of frames like the one before (0.75)')
    cl.add_argument('--text', action='store_true', default=None, help='keep what has subtitles')
    fr = cu.add_argument_group('frames')
    fr.add_argument('--change', type=float, metavar='LEVELS', help='from the last one kept (default: 4)')


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
        said = why if why.startswith(name) else f'{name}: {why}'
        print(said.encode('utf8', 'replace').decode())
    seen = dict(clips='report.html shows what was kept and why', frames='damage.md counts their damage')
    print(f'{args.output}: {seen[args.what]}')
    if failed:
        sys.exit(1)


def add_pack(command: Callable) -> None:
    pk = command('pack', run_pack, 'pack a training set into files that are read quickly', PACK)
    pk.add_argument('root', help='folder with one folder of frames, or one video, per clip')
    pk.add_argument('-o', '--output', required=True, help='folder for the packed clips')
    pk.add_argument('--jobs', type=int, help='threads (default: the CPUs)')


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


def add_reproduce(command: Callable) -> None:
    rp = command('reproduce', run_reproduce, 'run the trainings behind a table of VQD-SR', REPRODUCE)
    rp.add_argument('table', choices=[*(f'table{i}' for i in range(1, 6)), 'supplement4'])
    rp.add_argument('--scale', choices=['tiny', 'paper'], default='tiny', help='(default: %(default)s)')
    rp.add_argument(
        '--rows',
        nargs='+',
        metavar='ROW',
        help='only these rows; table2 also has k1 k10 k50 k100, the choice of K',
    )
    rp.add_argument(
        '--gt', default='datasets/AVC-Train', help='training set, scale paper (default: %(default)s)'
    )
    rp.add_argument(
        '--lq',
        default='datasets/AVC-RealLQ',
        help='low-quality clips to measure on, scale paper (default: %(default)s)',
    )
    rp.add_argument(
        '--ral', default='datasets/RAL', help='low-quality frames, scale paper (default: %(default)s)'
    )
    rp.add_argument(
        '--test', default='datasets/AVC-Test', help='validation clips, scale paper (default: %(default)s)'
    )
    rp.add_argument('--iterations', type=int, help='of each training, to try it')
    add_device(rp)


def run_reproduce(args: argparse.Namespace) -> None:
    """Call `animevsr.reproduce` and print the table."""
    options = {
        name: getattr(args, name)
        for name in ('scale', 'gt', 'lq', 'ral', 'test', 'rows', 'iterations', 'device')
    }

    def run(_):
        from animevsr.reproduce import reproduce

        return reproduce(args.table, progress=True, **options)

    print(guarded(run, 'rerun the command to resume'), end='')


def add_atlas(command: Callable) -> None:
    at = command('atlas', run_atlas, 'draw what a degradation model (VQGAN) has learned', ATLAS)
    at.add_argument(
        'weights', help='weights file of a MultiScaleVQGAN, or name of bundled ones (vqgan_animation)'
    )
    at.add_argument('frame', help='image, folder of frames or video')
    at.add_argument('-o', '--output', help='image to write (default: <name of the frame>_atlas.png here)')
    at.add_argument(
        '--number',
        type=int,
        default=0,
        help='which frame of a folder or video, from 0 (default: %(default)s)',
    )
    add_device(at)


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
