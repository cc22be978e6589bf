"""Several processes of one command, as `accelerate launch` starts them."""

import os
from datetime import timedelta

from diversity_tuning.errors import UserError


class Processes:
    """This process among ``count``: its number ``rank`` (0 is the ``first``) and its ``device``, None for the default."""

    def __init__(self, device: str | None = None):
        self.count, self.rank, self.device = int(os.environ.get("WORLD_SIZE", "1")), 0, device
        self._state = None
        if self.count > 1:
            import torch
            from accelerate import PartialState

            cpu = device == "cpu" or not torch.accelerator.is_available()
            # One process may wait for another for as long as sampling takes.
            self._state = PartialState(cpu=cpu, timeout=timedelta(days=30))
            if self._state.num_processes != self.count:
                raise UserError(
                    f"{self.count} processes were started and do not find each other; start them with accelerate launch"
                )
            self.rank, self.device = self._state.process_index, device or str(self._state.device)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, prompts: dict[int, str]) -> dict[int, str]:
        """This process's part of the prompts, longest first; all parts are about as much work."""
        return dict(sorted(prompts.items(), key=lambda item: -len(item[1]))[self.rank :: self.count])

    def wait(self) -> None:
        """Until every process is here."""
        if self._state:
            self._state.wait_for_everyone()

    def together(self, items: list) -> list:
        """The items of all processes, in every one of them, once all are here."""
        if not self._state:
            return items
        from accelerate.utils import gather_object

        return gather_object(items)

    def end(self) -> None:
        """Let each process go its own way."""
        if self._state:
            self._state.destroy_process_group()
            self._state = None
