"""The console script `animevsr`: parses, then calls one function of the package.

It stands outside the package because importing `animevsr` fills BasicSR's registries, which takes torch and seconds; the help must not.
"""
import argparse
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

UPSCALE = """Upscale a video, a folder of frames or one image; or all videos of a folder and of the folders in it.

A video keeps every frame, its times, its colours, and everything else in its container: sound, subtitles, chapters, attachments. The output
is a video or an image by its suffix, otherwise a new folder of PNG images (of videos, for a folder of videos). Interrupted, however, the
same command goes on: every shot that is finished is kept."""


LEARN_SIZES = {'tiny': 'options/tiny/vqgan_{}.yml', 'small': 'options/open_animation/vqgan_{}.yml', 'paper': 'options/vqgan/{}.yml'}
LEARN = """Learn how a collection of frames was degraded: train a multi-scale VQGAN in two stages (python -m animevsr.train, twice).

Interrupted, the same command goes on from the last checkpoint. The validation it logs is on 24 of these frames; --set
datasets:val:dataroot_lq=FOLDER names others. The result is experiments/NAME_full/models/net_g_latest.pth: look at it
with `animevsr atlas`, and train with it by the line `- vq: {weights: FILE}` in a degradation."""
RESCALE = """Find pairs of frames in one low-quality video, from which a learnable basic operator learns its damage (AnimeSR).

Without --factor: patches of the video are made smaller by ten factors and super-resolved; the pictures are written into the output
folder. Open its choose.html and click the factor that looks best. With --factor, a number or the file that the page saved, the pairs
are written: pseudo-HR frames, twice as large, into factor_<factor>/gt and the frames as they are into factor_<factor>/lq.
Interrupted then, the same command goes on."""
ENHANCE = """HR-SR enhancement (VQD-SR): super-resolve every frame of a tree of clips with an existing model, and bring it back to its size
by MATLAB's antialiased bicubic resize. The results are cleaner ground truth for training.

The tree stays as it is; a video becomes a folder of its name; everything is written as PNG. Interrupted, the same command goes on."""
EVALUATE = """Measure methods on clips and print a table: parameters, runtime of a 180x320 frame, metrics.

A method is a folder of results (one folder of frames, or one video, per clip), weights of a network (any that upscale takes), ncnn:NAME or
bicubic; NAME=METHOD names it. Networks and bicubic work on --lq. Example:

    animevsr evaluate bicubic ours=animevsr_x4 peer=ncnn:realesr-animevideov3-x4 --lq clips/lq --gt clips/gt -o table.md"""
COMPARE = """Write one HTML page that compares results: a slider between two methods, zoom, difference, metrics, and a blind study whose
votes can be saved. It works from a file, without a network. METHOD is a folder with one folder of frames, or one video, per clip."""
ATLAS = """Draw what a degradation model (multi-scale VQGAN) has learned, as one picture: a frame, its reconstruction, what the coarser
branches carry alone, the frame at k = 5, 10, 20 and 50, and all entries of the codebook.

Printed for each: PSNR against the frame (dB), and `structure`, the mean change (of 255) from the reconstruction when both are shrunk
8 times."""


IMAGES = {'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm'}
VIDEOS = {'.mp4', '.mkv', '.avi', '.mov', '.webm', '.flv', '.wmv', '.mpg', '.mpeg', '.ts', '.m2ts', '.m4v', '.ogv', '.ogm', '.rm', '.rmvb',
          '.vob', '.3gp', '.y4m'}  # as in video/reader.py, which takes seconds to import
VERIFY = """Compare an upscaled video with its source: frames, times, tracks, chapters, attachments, colours, and the picture itself (PSNR
of the output, made as small as the input, against it). Prints a line for each; the exit code is 1 where something differs."""
EXPORT = """Write one step of a recurrent network, (prev, cur, next, state) -> (sr, state), for other runtimes: ONNX, ncnn, TorchScript, or
its weights as safetensors. The file is compared with PyTorch, and the largest difference printed."""
BENCH = """Measure what this machine reaches: frames of a given size through every backend that is installed."""
REPRODUCE = """Run the trainings behind a table of VQD-SR and print the paper's numbers beside ours.

The scale tiny runs on the bundled clips with small networks, in minutes on a CPU: it shows that everything runs, not which method is
better. The scale paper runs the YAML files of options/ at the paper's values: it needs the paper's data and GPUs. Interrupted, the same
command goes on."""


def parser():
    """The parser of all subcommands."""
    root = argparse.ArgumentParser(prog='animevsr', description='Animation video super-resolution.')
    commands = root.add_subparsers(dest='command', metavar='COMMAND', required=True)
    up = commands.add_parser('upscale', help='upscale a video, a folder of frames or one image', description=UPSCALE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    up.add_argument('input', help='video file, folder of frames or image')
    up.add_argument('-o', '--output', required=True, help='video file, image, or new folder for PNG images')
    add_upscale_options(up)
    learn = commands.add_parser('learn', help='learn a degradation from low-quality frames', description=LEARN,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    learn.add_argument('frames', help='folder that is searched for images and video files')
    learn.add_argument('--name', help='name of the experiment (default: that of the folder)')
    learn.add_argument('--size', choices=list(LEARN_SIZES), default='small',
                       help='tiny: minutes on a CPU, to try it; small: about two hours of a CPU; paper: GPUs (default: %(default)s)')
    learn.add_argument('--set', nargs='*', default=[], metavar='KEY:KEY=VALUE', help='options of both stages, e.g. train:total_iter=9000')
    re = commands.add_parser('rescale', help='make training pairs from one low-quality video', description=RESCALE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    re.add_argument('video', help='video file or folder of frames')
    re.add_argument('-o', '--output', help='folder for the results (default: <name of the video>_rescaled here)')
    re.add_argument('-n', '--weights', default='animevsr_x4',
                    help='recurrent network that was trained on basic operators alone (default: %(default)s)')
    re.add_argument('--factor', help='write the pairs of this factor, in (0, 1], or of the file that choose.html saved')
    re.add_argument('--patches', type=int, default=6, help='how many patches are looked at (default: %(default)s)')
    re.add_argument('--patch-size', type=int, default=96, help='their side in pixels of the video (default: %(default)s)')
    re.add_argument('--max-frames', type=int, default=300,
                    help='at most so many pairs, in runs spread evenly over the video (default: %(default)s)')
    re.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    en = commands.add_parser('enhance', help='clean the ground truth of a training set (HR-SR)', description=ENHANCE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    en.add_argument('in_root', help='folder that is searched for images and video files')
    en.add_argument('out_root', help='folder for the results')
    en.add_argument('--model', required=True,
                    help='weights of any super-resolution network, ours or one that spandrel knows; ncnn:NAME; an ncnn .param file')
    en.add_argument('--tile', type=int, default=256, help='side of the squares worked on; memory depends on it (default: %(default)s)')
    en.add_argument('--jobs', type=int, help='threads that read and write (default: the CPUs, 4 at most)')
    en.add_argument('--part', default='1/1', metavar='I/N', help='only every N-th clip from the I-th on, to share the work')
    en.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    ev = commands.add_parser('evaluate', help='measure methods on clips, in one table', description=EVALUATE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    ev.add_argument('methods', nargs='+', metavar='[NAME=]METHOD', help='folder of results, weights, ncnn:NAME or bicubic')
    ev.add_argument('--lq', help='root of the low-quality clips')
    ev.add_argument('--gt', help='root of the clips with the ground truth')
    ev.add_argument('--metrics', nargs='+', help='psnr psnr_y ssim ssim_y niqe hyperiqa line_width flicker cut_bleed pyiqa:NAME')
    ev.add_argument('--every', type=int, default=10, help='measure every n-th frame (default: %(default)s)')
    ev.add_argument('-o', '--output', nargs='+', default=[], help='files to write the table to: .md, .csv, .json')
    ev.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    co = commands.add_parser('compare', help='compare results on one HTML page, or in a blind study', description=COMPARE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    co.add_argument('methods', nargs='+', metavar='[NAME=]METHOD', help='folders of results, two or more')
    co.add_argument('-o', '--output', default='compare.html', help='the page (default: %(default)s)')
    co.add_argument('--frames', type=int, default=5, help='frames of each clip, spread evenly (default: %(default)s)')
    co.add_argument('--quality', type=int, default=95, help='of the images in the page, 1 to 100; 101: lossless (default: %(default)s)')
    co.add_argument('--gt', help='root of the clips with the ground truth, for metrics that need one')
    co.add_argument('--metrics', nargs='*', default=['line_width', 'flicker'], help='see evaluate (default: line_width flicker)')
    co.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    ve = commands.add_parser('verify', help='compare an upscaled video with its source', description=VERIFY)
    ve.add_argument('input', help='the source')
    ve.add_argument('output', help='what was made of it')
    ve.add_argument('--every', type=int, default=10, help='compare every n-th picture (default: %(default)s)')
    ex = commands.add_parser('export', help='write a network for other runtimes', description=EXPORT)
    ex.add_argument('-n', '--weights', default='animevsr_x4', help='weights file, or name of bundled weights (default: %(default)s)')
    ex.add_argument('-o', '--output', required=True, help='.onnx, .param (ncnn), .pt (TorchScript) or .safetensors')
    ex.add_argument('--to', choices=['onnx', 'ncnn', 'torchscript', 'safetensors'], help='(default: by the suffix)')
    be = commands.add_parser('bench', help='measure the speed of this machine', description=BENCH)
    be.add_argument('-n', '--weights', default='animevsr_x4', help='weights file, or name of bundled weights (default: %(default)s)')
    be.add_argument('--size', default='320x180', help='of the frames (default: %(default)s)')
    be.add_argument('--rounds', type=int, default=5, help='interleaved rounds; medians are printed (default: %(default)s)')
    be.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    rp = commands.add_parser('reproduce', help='run the trainings behind a table of VQD-SR', description=REPRODUCE,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    rp.add_argument('table', choices=[f'table{i}' for i in range(1, 6)])
    rp.add_argument('--scale', choices=['tiny', 'paper'], default='tiny', help='(default: %(default)s)')
    rp.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows')
    rp.add_argument('--gt', default='datasets/AVC-Train', help='training set, scale paper (default: %(default)s)')
    rp.add_argument('--lq', default='datasets/AVC-RealLQ', help='low-quality clips to measure on, scale paper (default: %(default)s)')
    rp.add_argument('--iterations', type=int, help='of each training, to try it')
    rp.add_argument('--device', default='auto', help='where results are measured: auto, cpu, cuda, ... (default: %(default)s)')
    at = commands.add_parser('atlas', help='draw what a degradation model (VQGAN) has learned', description=ATLAS,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    at.add_argument('weights', help='weights file of a MultiScaleVQGAN, or name of bundled ones (vqgan_animation)')
    at.add_argument('frame', help='image, folder of frames or video')
    at.add_argument('-o', '--output', help='image to write (default: <name of the frame>_atlas.png here)')
    at.add_argument('--number', type=int, default=0, help='which frame of a folder or video, from 0 (default: %(default)s)')
    at.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    commands.add_parser('setup', help='install BasicSR, which pip alone cannot')
    return root


def add_upscale_options(up):
    """Options shared by `animevsr upscale` and `inference_animevsr.py`, in the habits of this field."""
    up.add_argument('-n', '--weights', default='animevsr_x4', help='weights file, or name of bundled weights (default: %(default)s)')
    up.add_argument('-s', '--outscale', type=float, help='size of the output over that of the input, up to 4 (default: 4)')
    up.add_argument('--fps', help='frame rate of a folder of frames, e.g. 24000/1001 (default: 24); retimes a video, without its sound')
    up.add_argument('--codec', choices=['h264', 'h265', 'av1', 'ffv1', 'prores'], default='h264',
                    help='ffv1 is lossless (default: %(default)s)')
    up.add_argument('--crf', type=int, help='quality of h264 and h265 (0 to 51) and av1 (to 63), lower is better (default: 18, 20, 24)')
    up.add_argument('--depth', type=int, choices=[8, 10], help='bits of a sample (default: as in the input)')
    up.add_argument('--chroma', choices=['420', '422', '444'], help='resolution of colour (default: as in the input)')
    up.add_argument('--hardware', action='store_true', help='encode on the graphics hardware where it can')
    up.add_argument('--deinterlace', choices=['auto', 'off'], default='auto',
                    help='auto: what is marked as interlaced (default: %(default)s)')
    up.add_argument('--no-cuts', action='store_true', help='do not look for cuts: the whole video is one shot')
    up.add_argument('--fast', action='store_true', help='8-bit integers on a CPU, float16 on a GPU: faster, nearly the same picture')
    up.add_argument('--reuse', action='store_true', help='compute only what changes from frame to frame: much faster on held drawings')
    up.add_argument('--backend', choices=['auto', 'torch', 'ncnn', 'openvino', 'onnxruntime'], default='auto',
                    help='auto: the fastest one that is installed (default: %(default)s)')
    up.add_argument('--jobs', type=int, default=1, help='processes, each on shots of its own (default: %(default)s)')
    up.add_argument('--threads', type=int, help='CPU threads of each process (default: the cores)')
    up.add_argument('--tile', default='auto', help='side of tiles in pixels, or auto: whole frames if memory allows (default: %(default)s)')
    up.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: %(default)s)')
    up.add_argument('--half', action='store_true', help='compute in float16 on a GPU: faster, half the memory')
    up.add_argument('--bf16', action='store_true', help='compute in bfloat16, in PyTorch')
    up.add_argument('--compile', dest='compiled', action='store_true', help='through torch.compile, in PyTorch: slow to start')


def run_upscale(args):
    """Call `animevsr.upscale` and say what was done."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files that are half written are removed
    names = ('weights', 'outscale', 'fps', 'codec', 'crf', 'device', 'half', 'depth', 'chroma', 'hardware', 'deinterlace', 'fast', 'reuse',
             'bf16', 'compiled', 'backend', 'jobs', 'threads')
    options = {name: getattr(args, name) for name in names}
    options.update(cuts=not args.no_cuts, tile=int(args.tile) if args.tile.isdigit() else args.tile)
    source = Path(args.input)
    if source.is_dir() and is_batch(source):
        return run_batch(args, options)
    done = guarded(lambda animevsr: animevsr.upscale(args.input, args.output, progress=True, **options),
                   f'nothing was written at {args.output}; the same command goes on')
    if done is not None:
        held = f', {done.held:.0%} held' if args.reuse else ''
        again = f', {done.resumed} of {done.shots} shots were there already' if done.resumed else ''
        print(f'{done.output}: {done.frames} frames, {done.width}x{done.height}, {done.seconds:.1f} s '
              f'({done.fps:.2f} frames a second{held}){again}')
    return None


def is_batch(folder):
    """Whether a folder is one of videos, and not one of frames; one that holds both is told."""
    try:
        suffixes = {path.suffix.lower() for path in folder.iterdir() if not path.name.startswith('.')}
    except OSError as error:
        sys.exit(f'animevsr: {folder}: cannot be read ({error.strerror})')
    if suffixes & IMAGES and suffixes & VIDEOS:
        print(f'animevsr: {folder} holds videos and images; the videos are upscaled, the images are not', file=sys.stderr)
    return bool(suffixes & VIDEOS) or not suffixes & IMAGES


def run_batch(args, options):
    """Call `animevsr.upscale_folder`; the exit code tells whether all went well."""
    done = guarded(lambda animevsr: animevsr.upscale_folder(args.input, args.output, progress=True, **options), 'the same command goes on')
    if done is None:  # not the first process of torchrun or slurm
        return
    for path, what in done.items():
        print(f'{path}: {what}')
    failed = sum(what.startswith('failed') for what in done.values())
    print(f'{len(done) - failed} done, {failed} failed')
    if failed:
        sys.exit(1)


def run_learn(args):
    """Run the two stages, each as a training process of its own."""
    import torch
    frames, gpus = Path(args.frames).resolve(), torch.cuda.device_count()
    start = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(gpus)] if gpus > 1 else []
    name = args.name or frames.name
    note = Path(f'experiments/{name}_frames.txt')
    if note.exists() and note.read_text() != str(frames):
        sys.exit(f'animevsr: experiments/{name}_* were learned from {note.read_text()}; choose another --name for {frames}')
    if frames.is_dir():
        note.parent.mkdir(exist_ok=True)
        note.write_text(str(frames))
    for stage in ('top', 'full'):
        options = [f'name={name}_{stage}', f'datasets:train:dataroot_lq={frames}', f'datasets:val:dataroot_lq={frames}',
                   'datasets:val:max_frames=24']
        if stage == 'full':
            options.append(f'path:pretrain_network_g=experiments/{name}_top/models/net_g_latest.pth')
        command = [sys.executable, *start, '-m', 'animevsr.train', '-opt', LEARN_SIZES[args.size].format(stage), '--auto_resume',
                   '--launcher', 'pytorch' if start else 'none', '--force_yml']
        try:
            code = subprocess.call([*command, *options, *args.set])
        except KeyboardInterrupt:
            code = 130
        if code:
            sys.exit(code)
    print(f'experiments/{name}_full/models/net_g_latest.pth')


def run_rescale(args):
    """Call `animevsr.rescale` and print the ranking, or how to train with the pairs."""
    output = Path(args.output or f'{Path(args.video.rstrip("/")).stem}_rescaled')
    options = {name: getattr(args, name) for name in ('weights', 'factor', 'patches', 'patch_size', 'max_frames', 'device')}
    interrupted = 'nothing was written' if args.factor is None else 'the same command goes on'
    done = guarded(lambda animevsr: animevsr.rescale(args.video, output, progress=True, **options), interrupted)
    if args.factor is None:
        for place, (factor, relative) in enumerate(done.ranking, 1):
            print(f'{place:2}. factor {factor:g}  relative score {relative:.3f}')
        print(f'Open {output}/choose.html in a browser and choose; it shows the command that makes the pairs.')
    else:
        print(f'{done}: {len(list((done / "lq").glob("*.png")))} pairs; train with dataroot_gt: {done}/gt and dataroot_lq: {done}/lq')


def run_enhance(args):
    """Call `animevsr.enhance` and say what was done."""
    try:
        part = tuple(int(number) for number in args.part.split('/'))
        if len(part) != 2:
            raise ValueError
    except ValueError:
        sys.exit(f"animevsr: --part must be I/N, e.g. 1/4; got '{args.part}'")
    options = dict(tile=args.tile, device=args.device, jobs=args.jobs, part=part)
    written = guarded(lambda animevsr: animevsr.enhance(args.in_root, args.out_root, args.model, progress=True, **options),
                      'the same command goes on')
    print(f'{args.out_root}: {written} frames written')


def run_evaluate(args):
    """Call `animevsr.evaluate`, print the table and write it."""
    methods = named_methods(args.methods)

    def run(animevsr):
        from animevsr.inference.tables import check_output, markdown, write_table
        for path in args.output:
            check_output(path)
        done = animevsr.evaluate(methods, args.lq, args.gt, args.metrics, args.every, args.device, progress=True)
        for path in args.output:
            write_table(done, path)
        return markdown(done)

    print(guarded(run, 'nothing was written'), end='')


def run_compare(args):
    """Call `animevsr.compare`."""
    options = dict(frames=args.frames, quality=args.quality, gt=args.gt, metrics=args.metrics, device=args.device, progress=True)
    methods = named_methods(args.methods)
    print(guarded(lambda animevsr: animevsr.compare(methods, args.output, **options), f'nothing was written at {args.output}'))


def run_reproduce(args):
    """Call `animevsr.reproduce` and print the table."""
    options = {name: getattr(args, name) for name in ('scale', 'gt', 'lq', 'rows', 'iterations', 'device')}

    def run(_):
        from animevsr.reproduce import reproduce
        return reproduce(args.table, progress=True, **options)

    print(guarded(run, 'the same command goes on'), end='')


def run_verify(args):
    """Call `animevsr.verify`, print its lines."""
    checks = guarded(lambda animevsr: animevsr.verify(args.input, args.output, args.every), 'nothing was written')
    for check in checks:
        print(f'{"ok  " if check.ok else "FAIL"}  {check.name}: {check.what}')
    if not all(check.ok for check in checks):
        sys.exit(1)


def run_export(args):
    """Call `animevsr.export`."""
    done = guarded(lambda animevsr: animevsr.export(args.weights, args.output, args.to), f'nothing was written at {args.output}')
    print(f'{done.path}: largest difference from PyTorch {done.difference:.2g}')


def run_bench(args):
    """Call `bench` and print its table."""
    def run(_):
        from animevsr.inference.bench import bench
        return bench(args.weights, args.size, args.rounds, args.device)

    print(guarded(run, 'nothing was measured'), end='')


def named_methods(arguments):
    """{name: method} of [NAME=]METHOD."""
    methods = {}
    for method in arguments:
        path = Path(method)
        name, what = method.split('=', 1) if '=' in method and not path.exists() else (path.name if path.is_dir() else path.stem, method)
        if name in methods:
            sys.exit(f'animevsr: two methods are named {name}; name them: NAME={what}')
        methods[name] = what
    return methods


def run_atlas(args):
    """Call `animevsr.atlas` and print its numbers."""
    output = args.output or f'{Path(args.frame).stem}_atlas.png'
    views = guarded(lambda animevsr: animevsr.atlas(args.weights, args.frame, output, args.number, args.device),
                    f'nothing was written at {output}')
    for view in views[1:]:
        print(f'{view.title:24} {view.psnr:6.2f} dB  structure {view.structure:.2f}')
    print(output)


def guarded(function, interrupted):
    """`function(animevsr)`; every problem with the input is one line and a non-zero exit; so is an interrupt, with what it means."""
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a damaged image is reported once, in one line
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')  # as is a process that is gone
    try:
        import animevsr
        from animevsr.utils.checkpoint import CheckpointError
        from animevsr.utils.memory import keep_freed_memory
        from animevsr.video.reader import MediaError
    except ModuleNotFoundError as error:
        remedy = 'animevsr setup' if error.name == 'basicsr' else f'pip install {error.name}'
        sys.exit(f'animevsr: the package {error.name} is missing; run: {remedy}')
    except KeyboardInterrupt:
        sys.exit(130)
    keep_freed_memory()
    warnings.showwarning = lambda message, *_: print(f'animevsr: {message}', file=sys.stderr)
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


def main(argv=None):
    args = parser().parse_args(argv)
    if args.command == 'setup':
        import animevsr_install
        animevsr_install.main()
        return
    run = dict(upscale=run_upscale, learn=run_learn, rescale=run_rescale, enhance=run_enhance, evaluate=run_evaluate,
               compare=run_compare, verify=run_verify, export=run_export, bench=run_bench, reproduce=run_reproduce, atlas=run_atlas)
    run[args.command](args)


if __name__ == '__main__':
    main()
