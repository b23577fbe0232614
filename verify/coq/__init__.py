"""Certificates as Coq files: an instance and a witness in Coq's words, with a theorem of promptcert's library `formal/`
applied to them.

Nothing here is trusted: Coq checks the witness by computation. What has to be compared is the instance, which is
written number for number as in the certificate, and the statement of the theorem ``certificate`` at the end.
"""

from verify.coq.exporters import EXPORTABLE, NotExportableError, export, find_exporter

__all__ = ["EXPORTABLE", "NotExportableError", "export", "find_exporter"]
