"""Patients' identifiers (INS, health data), and the mail domain whose local parts are INS.

Pure.
"""

import re
from typing import Final

PATIENT_DOMAIN: Final = "patient.mssante.fr"
"""The domain of Mon espace santé: its local parts are INS (DOMAIN §1.2)."""

# Groups: sex, year and month of birth; department (2A, 2B in Corsica); commune and order; key.
_INS: Final = re.compile(
    r"([0-9]{5})([0-9]{2}|2[AB])([0-9]{6})([0-9]{2})", re.IGNORECASE | re.ASCII
)
_CORSICA: Final = {
    "2A": "19",
    "2B": "18",
}  # the departments' numbers when the key is computed


def is_ins(text: str, *, key: bool = True) -> bool:
    """True for an INS matricule: the 13 characters of a NIR and a 2-digit key.

    The key is 97 - (n mod 97), with the Corsican departments 2A read as 19 and 2B as 18: the public
    rule of the NIR. `key=False` checks the form alone, for test patients: some examples of ANS have
    a wrong key (DOMAIN §1.5).
    """
    parts = _INS.fullmatch(text)
    if parts is None or not key:
        return parts is not None
    born, department, order, digits = parts.groups()
    number = int(born + _CORSICA.get(department.upper(), department) + order)
    return int(digits) == 97 - number % 97
