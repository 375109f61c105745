"""The curve of a training run: pixel loss and validation PSNR from BasicSR's log files, as CSV and as a
picture (needs matplotlib).

    python benchmarks/curve.py LOG [LOG ...] -o weights/vqgan_animation_curve

Several logs are the steps of one training, in order; a log of a resumed run goes on where it was resumed.
"""

import argparse
import csv
import re
from pathlib import Path

LINE = re.compile(r'iter:\s*([\d,]+), lr:\(([\d.e+-]+),.*l_pix: ([\d.e+-]+)')
VALUE = re.compile(r'# psnr(?:_y)?: ([\d.]+).*')
RESUMED = re.compile(r'Resuming training from epoch: \d+, iter: (\d+)')


def read(paths):
    """Rows (iteration over all steps, lr, loss or '', PSNR or '') of the logs."""
    rows, offset, last = [], 0, 0  # offset: iterations of the steps before
    for path in paths:
        text = Path(path).read_text()
        resumed = RESUMED.search(text)
        if resumed:
            last = int(resumed[1])
            rows = [row for row in rows if row[0] <= offset + last]
        else:
            offset, last = offset + last, 0
        for line in text.splitlines():
            found = LINE.search(line)
            if found:
                last = int(found[1].replace(',', ''))
                rows.append((offset + last, found[2], found[3], ''))
            elif VALUE.search(line):
                rows.append((offset + last, '', '', VALUE.search(line)[1]))
    return rows


def draw(rows, path):
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(8, 4), layout='constrained')
    losses = [(i, float(loss)) for i, _, loss, _ in rows if loss]
    width = 15
    smooth = [
        (losses[k][0], sum(v for _, v in losses[k - width : k]) / width) for k in range(width, len(losses))
    ]
    left.plot(*zip(*smooth), label=f'training L1 (mean of {width} logged values)', color='tab:blue')
    left.set(xlabel='iteration', ylabel='L1')
    right = left.twinx()
    right.plot(
        *zip(*[(i, float(p)) for i, _, _, p in rows if p]), 'o-', label='validation PSNR', color='tab:red'
    )
    right.set_ylabel('dB')
    figure.legend(loc='outside upper center', ncols=2)
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('logs', nargs='+')
    parser.add_argument('-o', '--output', required=True, help='name without suffix')
    args = parser.parse_args()
    rows = read(args.logs)
    with open(f'{args.output}.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('iteration', 'lr', 'l1', 'psnr'), *rows])
    draw(rows, f'{args.output}.png')
