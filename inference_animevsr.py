"""`python inference_animevsr.py -i IN -o OUT`: `animevsr upscale` in the habits of this field."""

import argparse

from animevsr_cli.arguments import FORMATTER
from animevsr_cli.config import parse
from animevsr_cli.guard import end_on_sigterm
from animevsr_cli.texts import EXAMPLES, UPSCALE
from animevsr_cli.upscale_commands import add_upscale_options, run_upscale

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=UPSCALE,
        formatter_class=FORMATTER,
        epilog=EXAMPLES.replace('animevsr upscale', 'python inference_animevsr.py -i'),
    )
    parser.add_argument('-i', '--input', required=True, help='video file, folder of frames or image')
    parser.add_argument(
        '-o', '--output', required=True, help='video file, image, or new folder for PNG images'
    )
    add_upscale_options(parser)
    args = parse(parser, parser)
    end_on_sigterm()
    run_upscale(args)
