"""Messages: a short ordinary text, and a letter that shows every change made to it on its way."""

MARTIN = "claire.martin@a.mssante.fr"
TEXT = b"From: <dr@b.mssante.fr>\r\nSubject: [FIN]\r\n\r\nBonjour\r\n"

# Parts that DOMAIN §9.23 and §9.24 forbid to change: X-MSS-* in any order and case, the exact
# Subject, folded lines, octets beyond ASCII, trailing spaces, lines that begin with a dot.
UNTOUCHABLE = (
    b"From: Dr B <dr@b.mssante.fr>\r\n"
    b"To: <claire.martin@a.mssante.fr>\r\n"
    b"Subject: [FIN]\r\n"
    b"X-MSS-NIL: DEV935997\r\n"
    b"x-mss-codecda: 34112-3,\r\n"
    b"\tPRESC-BIO,15508-5\r\n"
    b"X-MSS-INS:  O \r\n"
    b"X-MSS-MES: FIN\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b"R\xc3\xa9sultat \xe9 \t \r\n"
    b".\r\n"
    b"..deux points\r\n"
    b"\r\n"
    b".\r\n"
)
