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
        patient_of: The patient of each record, where a patient may have several; None: each record is a patient's only.
        schema: How records are encoded.
        licence: Of the data.
        citation: What to cite when publishing results.
        notes: For people, in whole sentences: corrections, substitutions, leaks.

    Raises:
        DataError: ``holder_of`` does not name one holder per record, or ``patient_of`` one patient per record, each of
            one holder.
    """

    name: str
    title: str = ""
    table: Table
    holder_of: Cells
    schema: Schema
    patient_of: Cells | None = None
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
        if self.patient_of is not None:
            self._check_patients(self.patient_of)

    def _check_patients(self, patient_of: Cells) -> None:
        if patient_of.shape != self.holder_of.shape:
            raise DataError(f"patient_of has shape {patient_of.shape}", expected=f"{self.holder_of.shape}")
        home: dict[str, str] = {}
        for number, (patient, holder) in enumerate(zip(patient_of, self.holder_of, strict=True), 1):
            if not patient:
                raise DataError(
                    f"record {number} has no patient", remedy="Fill in the patient column, or leave it out."
                )
            if (
                home.setdefault(patient, holder) != holder
            ):  # each holder bounds what its own records say, not the other's
                raise DataError(
                    f"the patient of record {number} has records at two holders",
                    expected="each patient at one holder, as each bounds a patient's part in its own records only",
                    remedy="Put the holder into the ids if each holder counts its own patients.",
                )
