"""What a run may send and spend."""

import math
import threading
from dataclasses import dataclass

from diversity_tuning.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Caps of one run; None: no cap. Prices are per million tokens, in the unit of ``max_cost``."""

    max_requests: int | None = None
    max_cost: float | None = None
    price_input: float | None = None
    price_output: float | None = None

    def __post_init__(self):
        if self.max_cost is not None and (self.price_input is None or self.price_output is None):
            raise UserError("--max_cost needs --price_input and --price_output, in the same money per million tokens")
        values = (self.max_requests, self.max_cost, self.price_input, self.price_output)
        if any(value is not None and not 0 <= value < math.inf for value in values):
            raise UserError("--max_requests, --max_cost, --price_input and --price_output must be numbers from 0 up")


class Budget:
    """Counts requests and money over threads, such that the caps are never passed.

    Before a request its dearest outcome is set aside; what is not used goes back afterwards.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.sent, self.spent, self._aside = 0, 0.0, 0.0
        self._changed = threading.Condition()

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Money for so many tokens; 0 without prices."""
        return (tokens_in * (self.limits.price_input or 0) + tokens_out * (self.limits.price_output or 0)) / 1e6

    def take(self, dearest: float) -> str | None:
        """Set money aside and count a request; or say which cap forbids it. Waits while money may still come back."""
        limits = self.limits
        with self._changed:
            while True:
                if limits.max_requests is not None and self.sent >= limits.max_requests:
                    return f"--max_requests {limits.max_requests} reached"
                if limits.max_cost is None or self.spent + self._aside + dearest <= limits.max_cost:
                    break
                if not self._aside:
                    return f"--max_cost {limits.max_cost:g} would be passed ({self.spent:.4g} spent)"
                self._changed.wait()
            self.sent += 1
            self._aside += dearest
        return None

    def settle(self, dearest: float, cost: float) -> None:
        """Give back what was set aside, and spend what it cost."""
        with self._changed:
            self._aside -= dearest
            if self._aside < 1e-12:
                self._aside = 0.0
            self.spent += cost
            self._changed.notify_all()
