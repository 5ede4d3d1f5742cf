"""The national white list of MSSanté: the certificate names that may speak for each mail domain.

Start at `whitelist.national.reader` (from a file to a verified list) and
`whitelist.national.lookup` (queries). Below them: `whitelist.national.signed_file`, `signature` and
`signer` (accepted shape, accepted signer), `document` (content), `whitelist.pki.distinguished_name`
over `rfc4514` (names), `trust_store` over `authorities` (IGC-Santé chains), and `whitelist.errors`
(reasons of refusals). Above them: `whitelist.refresh` (from the sources to the list in force).
"""
