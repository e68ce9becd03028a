"""Points that tables give as longitude and latitude, in any datum; knows nothing of what stands there."""

import numpy as np
from numpy.typing import NDArray

from core import datums
from core.datums import Datum
from core.errors import Invalid
from grid.tabular import Rejects, Table


def convert(
    given: NDArray[np.float64], datum: Datum, table: Table, rejects: Rejects
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows have a point in China, and all points in EPSG:4490 (NaN where there is none)."""
    west, south, east, north = datums.CHINA
    with np.errstate(invalid="ignore"):
        good: NDArray[np.bool_] = (
            (given[:, 0] >= west) & (given[:, 0] <= east) & (given[:, 1] >= south) & (given[:, 1] <= north)
        )
    for i in np.flatnonzero(~good):
        try:
            datums.point(given[i, 0], given[i, 1], datum)
        except Invalid as error:
            rejects.add(
                table.file,
                int(table.rows[i]),
                column="lng",
                reason=error.message,
                value=f"{given[i, 0]}, {given[i, 1]}",
                **error.params,
            )
    lng_lat = np.full(given.shape, np.nan)
    if good.any():
        lng_lat[good] = datums.to_cgcs2000(given[good], datum)
    return good, lng_lat
