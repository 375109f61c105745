"""A guard over adversarial training: says when there is nothing left to learn from (VQD-SR Sec. 3.4 saw the
GAN loss collapse).
"""

from __future__ import annotations

# what a discriminator loses that cannot tell real from fake: the sum of its loss on both
UNDECIDED = {'lsgan': 0.5, 'vanilla': 1.386, 'hinge': 2.0}


class CollapseGuard:
    """Running means of the losses, and what is wrong with them.

    Two things are watched: a discriminator that tells everything apart (its loss is next to nothing, and so
    are the gradients that it gives), and a generator that drifts away from the ground truth. The means start
    anew when a run is resumed.

    Args:
        gan_type (str): see `UNDECIDED`; for another type the discriminator is not watched.
        window (int): iterations over which is averaged, and before which nothing is said.
        least_d (float): the discriminator has collapsed when it loses less than this part of what an
            undecided one loses.
        pix_rise (float): the generator has drifted when its pixel loss is so many times the lowest mean that
            it had.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self, gan_type: str, window: int = 1000, least_d: float = 0.02, pix_rise: float = 3.0
    ) -> None:
        if not isinstance(window, int) or window < 1 or least_d < 0 or pix_rise <= 0:
            raise ValueError(
                'guard: window must be a whole number >= 1, least_d at least 0, and pix_rise above 0; got '
                f'{window}, {least_d}, {pix_rise}'
            )
        self.window = window
        self.pix_rise = pix_rise
        self.counts = {}
        self.least_d = least_d * UNDECIDED[gan_type] if gan_type in UNDECIDED else None
        self.means = {}
        self.recent = {}
        self.lowest = None

    def update(self, losses: dict[str, float]) -> None:
        """Take in the losses {name: float} of one iteration."""
        seen = dict(d=losses['l_d_real'] + losses['l_d_fake'])
        if 'l_g_pix' in losses:
            seen['pix'] = losses['l_g_pix']
        for name, value in seen.items():
            # of its own, since the pixel loss may begin later (net_d_init_iters)
            count = self.counts[name] = self.counts.get(name, 0) + 1
            before = self.means.get(name, value)
            self.means[name] = before + (value - before) / min(count, self.window)
            before = self.recent.get(name, value)
            self.recent[name] = before + (value - before) / min(count, max(1, self.window // 10))
        if self.counts.get('pix', 0) >= self.window:
            self.lowest = min(self.means['pix'], self.lowest or self.means['pix'])

    def problem(self, recent: bool = False) -> str | None:
        """What is wrong, in one sentence, or None. `recent` looks at a tenth of the window: an early sign, or
        a passing one.
        """
        means, window = (self.recent, max(1, self.window // 10)) if recent else (self.means, self.window)
        if self.counts.get('d', 0) < window:
            return None
        if self.least_d is not None and means['d'] < self.least_d:
            return (
                'the discriminator has collapsed: it tells real from fake without fail (mean loss'
                f' {means["d"]:.2g} over {window} iterations), so that the network learns nothing from it'
            )
        if self.lowest is not None and means['pix'] > self.pix_rise * self.lowest:
            return (
                f'the network has drifted: its mean pixel loss over {window} iterations is'
                f' {means["pix"]:.3g}, it was {self.lowest:.3g}'
            )
        return None
