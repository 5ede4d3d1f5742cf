"""The national white list of MSSanté: which certificate names may speak for which mail domains.

Start at `whitelist.national.reader` (from a file to a verified list) and
`whitelist.national.lookup` (questions to it). Below them: `shape` and `signature` (what is
accepted, and who signed), `document` (content), `names` over `rfc4514` (distinguished names),
`trust` over `authorities` (IGC-Santé chains), and `errors` (why something is refused).
"""
