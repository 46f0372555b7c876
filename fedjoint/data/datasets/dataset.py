"""A data set as a run starts with it: the table, whose each record is, and what may be said and done with it."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.agreement.schema import Schema
from fedjoint.data.records import Cells, Table
from fedjoint.errors import DataError

__all__ = ["Dataset"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """All records of a simulation, before they are divided among the holders.

    Args:
        name: Short name, for folders.
        title: What to call it in reports; empty: the name.
        table: Every record; has the schema's columns and target.
        holder_of: The holder's display name of each record.
        schema: How records are encoded.
        licence: Of the data.
        citation: What to cite when publishing results.
        notes: For people, in whole sentences: corrections, substitutions, leaks.

    Raises:
        DataError: ``holder_of`` does not name one holder per record.
    """

    name: str
    title: str = ""
    table: Table
    holder_of: Cells
    schema: Schema
    licence: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.holder_of.shape != (self.table.num_rows,):
            raise DataError(
                f"holder_of has shape {self.holder_of.shape}", expected=f"one holder for each of {self.table.num_rows}"
            )
        for number, holder in enumerate(self.holder_of, 1):
            if not holder:
                raise DataError(f"record {number} has no holder", remedy="Fill in the holder column, or leave it out.")
