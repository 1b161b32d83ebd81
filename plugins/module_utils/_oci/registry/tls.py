from __future__ import annotations
import ssl
def ssl_context(host, options):
    c = ssl.create_default_context()
    if options.ca_path: c.load_verify_locations(options.ca_path)
    return c
