"""Users: drivers who logged in."""

from __future__ import annotations

import attrs

from evcharge.models.electric_car import TARGET_PERCENT, ElectricCar


@attrs.frozen
class User:
    """A driver with a car, from LOGIN until the charging has ended."""

    user_id: str
    """A bearer secret: who knows it acts as the user."""
    user_name: str
    car: ElectricCar
    created_timestamp: float
    """When the user logged in, seconds since the epoch."""
    car_key: str | None = None
    """Under which name the catalogue has the model; None where that is not known."""
    target_percent: float = TARGET_PERCENT
    """To which state of charge the driver charges, per cent."""
    driver_id: str = attrs.field()
    """What ties the journeys of one driver together, as much a secret; the user id of the first."""
    clock: int = attrs.field(default=0, eq=False)
    """By which of its clocks the storage has that: its own business."""

    @driver_id.default
    def _driver_id(self) -> str:
        return self.user_id

    def moved(self, by_s: float, clock: int) -> User:
        """The same user, whose login was `by_s` later; that is by another `clock`."""
        return attrs.evolve(self, created_timestamp=self.created_timestamp + by_s, clock=clock)
