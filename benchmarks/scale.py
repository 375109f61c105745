"""How long a curation takes on many machines: a simulation, by figures measured on one.

    python benchmarks/scale.py [--hours 10000] [--frames 205] [--cores 64 256 1024]

A task is one video of 24 minutes, handed to the next free core, longest not first (as `curate --cluster`
does with Ray). Its time is that of its frames at `--frames` a second, times a factor that is log-normal
(sigma 0.3: codecs and sizes differ). One core in 50 is a straggler, four times as slow. A core is lost (its
machine, preempted) after an exponential time with a mean of `--lost` hours; its task begins again on another
core, as Ray's retries do, and the machine is back ten minutes later. Printed: hours until all is done, over
the ideal, the share of core hours that became results, tasks that ran more than once, and those that failed
more than three times (Ray would give them up).
"""

import argparse
import heapq

import numpy as np

VIDEO = 0.4  # hours of video of a task
RATE = 24  # frames a second of the videos
STRAGGLER, SLOW = 0.02, 4.0
BACK = 1 / 6  # hours until a machine is back
RETRIES = 3


def simulate(tasks, cores, seconds, lost, seed=0):
    """(hours, useful share, tasks that ran again, tasks given up)."""
    rng = np.random.default_rng(seed)
    speed = np.where(rng.random(cores) < STRAGGLER, 1 / SLOW, 1.0)
    need = seconds / 3600 * rng.lognormal(-0.045, 0.3, tasks)  # the mean is as measured
    waiting, tries, again, given_up = list(range(tasks))[::-1], np.zeros(tasks, int), set(), 0
    ready = np.zeros(tasks)
    free = [(0.0, core) for core in range(cores)]
    heapq.heapify(free)
    end = useful = spent = 0.0
    running = []  # (when it is over, task) of what may still be lost
    while waiting or running:
        if not waiting:  # the last ones: whether one of them is lost is known when it is over
            when, task, failed = heapq.heappop(running)
            end = max(end, when)
            if failed:
                waiting.append(task)
                ready[task] = when
            continue
        now, core = heapq.heappop(free)
        while running and running[0][0] <= now:
            when, task, failed = heapq.heappop(running)
            end = max(end, when)
            if failed:
                waiting.append(task)
                ready[task] = when
        task = waiting.pop()
        now = max(now, ready[task])  # a core may be free before it is known that a task was lost
        takes, survives = need[task] / speed[core], rng.exponential(lost)
        if tries[task]:
            again.add(task)
        tries[task] += 1
        spent += min(takes, survives)
        if survives < takes:
            over = tries[task] > RETRIES
            given_up += over
            heapq.heappush(running, (now + survives, task, not over))
            heapq.heappush(free, (now + survives + BACK, core))
        else:
            useful += takes
            heapq.heappush(running, (now + takes, task, False))
            heapq.heappush(free, (now + takes, core))
    return end, useful / spent, len(again), given_up


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--hours', type=float, default=10_000, help='of video')
    parser.add_argument('--frames', type=float, default=205, help='surveyed a second by one core')
    parser.add_argument('--cores', type=int, nargs='+', default=[64, 256, 1024])
    parser.add_argument(
        '--lost', type=float, nargs='+', default=[1000, 24, 2], help='mean hours until a loss'
    )
    args = parser.parse_args()
    tasks = round(args.hours / VIDEO)
    seconds = VIDEO * 3600 * RATE / args.frames
    print(f'{tasks} videos of {VIDEO * 60:.0f} minutes, {seconds / 60:.1f} minutes each on a core')
    print(
        '| cores | mean hours until a core is lost | hours | of the ideal | useful | ran again | given up |'
    )
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for cores in args.cores:
        for lost in args.lost:
            hours, useful, again, given_up = simulate(tasks, cores, seconds, lost)
            ideal = tasks * seconds / 3600 / cores
            cells = (
                cores,
                f'{lost:g}',
                f'{hours:.1f}',
                f'{hours / ideal:.2f}',
                f'{useful:.1%}',
                again,
                given_up,
            )
            print(f'| {" | ".join(map(str, cells))} |')
