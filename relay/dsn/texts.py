"""Texts of DSNs, in French and English.

The readers look after patients, not after mail: no jargon, and advice always with its reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from types import MappingProxyType
from typing import Final

from relay.dsn.model import Action
from relay.smtp.failure_reason import Cause


@dataclass(frozen=True, slots=True)
class Language:
    """Texts of one language: heads of the lists; for each cause, its description and its remedy."""

    date: Callable[[datetime], str]
    receipt: str
    report: str
    arrival: str
    notice: str
    heads: Mapping[Action, str]
    causes: Mapping[Cause, tuple[str, str]]
    no_action: str
    unread: str


def _french_date(at: datetime) -> str:
    return f"{at:%d/%m/%Y} à {at:%H:%M:%S} (UTC{at:%z})"


FRENCH: Final = Language(
    date=_french_date,
    receipt="Accusé de réception envoyé automatiquement par {}.",
    report="Rapport de remise envoyé automatiquement par {}.",
    arrival="Votre message est arrivé le {}.",
    notice=(
        "À l'administrateur de la messagerie : un rapport ou un accusé n'a pas pu être remis. Il"
        " n'a pas d'adresse de retour, si bien que personne d'autre n'en est averti.\r\n"
        "C'est le message {}, arrivé le {}."
    ),
    heads=MappingProxyType(
        {
            Action.FAILED: "Il n'a pas pu être remis à :",
            Action.DELAYED: "Il n'a pas encore pu être remis à :",
            Action.DELIVERED: "Il a été remis dans la boîte aux lettres de :",
            Action.RELAYED: (
                "Il a été transmis à un serveur qui n'envoie pas d'accusé de réception, pour :"
            ),
        }
    ),
    causes=MappingProxyType(
        {
            Cause.ADDRESS: (
                "Cette adresse n'existe pas, ou n'existe plus.",
                "Vérifiez-la, par exemple dans l'annuaire, et envoyez le message à la bonne.",
            ),
            Cause.DOMAIN: (
                "Ce qui suit le signe @ ne désigne aucune messagerie qui reçoive des messages.",
                "Vérifiez l'adresse, par exemple dans l'annuaire.",
            ),
            Cause.CLOSED: (
                "La boîte aux lettres est fermée ou suspendue.",
                "Cherchez une autre adresse du destinataire, ou joignez-le autrement.",
            ),
            Cause.FULL: (
                "La boîte aux lettres est pleine.",
                "Prévenez le destinataire par un autre moyen, puis renvoyez le message.",
            ),
            Cause.TOO_BIG: (
                "Le message est trop volumineux pour ce destinataire.",
                "Renvoyez-le avec des pièces jointes plus légères, ou en plusieurs messages.",
            ),
            Cause.FORM: (
                "Le serveur du destinataire ne sait pas recevoir un message de cette forme.",
                "Renvoyez-le sous une forme plus simple, sans adresse accentuée par exemple.",
            ),
            Cause.UNREACHABLE: (
                "Le serveur du destinataire n'a pas pu être joint.",
                (
                    "Il n'y aura pas d'autre essai. Renvoyez le message plus tard, ou joignez le"
                    " destinataire autrement."
                ),
            ),
            Cause.UNCERTAIN: (
                "Le serveur du destinataire a reçu ce message sans confirmer qu'il l'a accepté.",
                "Demandez au destinataire s'il l'a, avant de le renvoyer.",
            ),
            Cause.UNSAFE: (
                "Le serveur du destinataire n'a pas prouvé son identité comme MSSanté l'exige.",
                (
                    "Le message ne lui a pas été confié. Joignez le destinataire autrement, et"
                    " transmettez ce rapport à votre support."
                ),
            ),
            Cause.NOT_LISTED: (
                "Le domaine de cette adresse ne fait pas partie de l'espace de confiance MSSanté.",
                (
                    "Aucun message ne peut y être envoyé. Cherchez dans l'annuaire une adresse"
                    " MSSanté du destinataire."
                ),
            ),
            Cause.REFUSED: (
                "Le serveur du destinataire a refusé ce message.",
                (
                    "Joignez le destinataire autrement. Votre support saura en demander la raison,"
                    " si vous lui transmettez ce rapport."
                ),
            ),
            Cause.UNREADABLE: (
                "Votre messagerie n'a pas pu relire ce message, qui n'est pas parti.",
                "Renvoyez-le, ou joignez le destinataire autrement, et prévenez votre support.",
            ),
            Cause.DROPPED: (
                "L'administrateur de votre messagerie a retiré ce message de l'envoi.",
                "Demandez-lui pourquoi avant de le renvoyer.",
            ),
            Cause.OTHER: (
                "Le serveur du destinataire n'a pas pu prendre ce message.",
                "Renvoyez-le plus tard. Si cela se répète, transmettez ce rapport à votre support.",
            ),
        }
    ),
    no_action=(
        "Vous n'avez rien à faire, et surtout pas à le renvoyer : d'autres essais auront lieu"
        " jusqu'au {}."
    ),
    unread="Ceci ne dit pas si le message a été lu.",
)
ENGLISH: Final = Language(
    date=format_datetime,
    receipt="Delivery report sent automatically by {}.",
    report="Delivery report sent automatically by {}.",
    arrival="Your message arrived on {}.",
    notice=(
        "To the administrator of the mail system: a report or a receipt could not be delivered. It"
        " has no return address, so that nobody else hears of it.\r\n"
        "It is message {}, which arrived on {}."
    ),
    heads=MappingProxyType(
        {
            Action.FAILED: "It could not be delivered to:",
            Action.DELAYED: "It could not be delivered yet to:",
            Action.DELIVERED: "It was delivered to the mailbox of:",
            Action.RELAYED: "It was passed on to a server that sends no reports, for:",
        }
    ),
    causes=MappingProxyType(
        {
            Cause.ADDRESS: (
                "This address does not exist, or no longer.",
                "Check it, in the directory for instance, and send the message to the right one.",
            ),
            Cause.DOMAIN: (
                "What follows the @ sign names no mail system that takes messages.",
                "Check the address, in the directory for instance.",
            ),
            Cause.CLOSED: (
                "The mailbox is closed or suspended.",
                "Look for another address of the recipient, or reach them by other means.",
            ),
            Cause.FULL: (
                "The mailbox is full.",
                "Tell the recipient by other means, then send the message again.",
            ),
            Cause.TOO_BIG: (
                "The message is too big for this recipient.",
                "Send it again with smaller attachments, or in several messages.",
            ),
            Cause.FORM: (
                "The recipient's server cannot take a message of this form.",
                "Send it again in a simpler form, without accents in addresses for instance.",
            ),
            Cause.UNREACHABLE: (
                "The recipient's server could not be reached.",
                (
                    "There will be no more tries. Send the message again later, or reach the"
                    " recipient by other means."
                ),
            ),
            Cause.UNCERTAIN: (
                "The recipient's server received this message without confirming that it took it.",
                "Ask the recipient whether it is there before you send it again.",
            ),
            Cause.UNSAFE: (
                "The recipient's server did not prove its identity as MSSanté demands.",
                (
                    "The message was not handed to it. Reach the recipient by other means, and"
                    " forward this report to your support."
                ),
            ),
            Cause.NOT_LISTED: (
                "The domain of this address is not part of the MSSanté trust space.",
                (
                    "No message can be sent there. Look in the directory for an MSSanté address of"
                    " the recipient."
                ),
            ),
            Cause.REFUSED: (
                "The recipient's server refused this message.",
                (
                    "Reach the recipient by other means. Your support can ask for the reason, if"
                    " you forward this report."
                ),
            ),
            Cause.UNREADABLE: (
                "Your own mail system could not read this message again: it was not sent.",
                "Send it again, or reach the recipient by other means, and tell your support.",
            ),
            Cause.DROPPED: (
                "The administrator of your mail system took this message out of the queue.",
                "Ask them why before you send it again.",
            ),
            Cause.OTHER: (
                "The recipient's server could not take this message.",
                "Send it again later. If that does not help, forward this report to your support.",
            ),
        }
    ),
    no_action="There is nothing to do, and no need to send it again: more tries follow until {}.",
    unread="This does not say whether the message was read.",
)
