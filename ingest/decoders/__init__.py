"""One small file per payload format, and the table that names them all."""

from collections.abc import Callable, Mapping

from core.topics import Format
from ingest.decoders import cbor, native_json, osmand, owntracks, teltonika
from ingest.decoders.plain import Decoded, Payload

type Decoder = Callable[[Payload], Decoded]
"""Gives the samples of a message, and a verdict for each of its samples that is none.

Raises Reject, and nothing else, when no part of the message is a sample. Form only: `ingest.validate` judges content.
"""

DECODERS: Mapping[Format, Decoder] = {
    Format.JSON: native_json.decode,
    Format.CBOR: cbor.decode,
    Format.OWNTRACKS: owntracks.decode,
    Format.OSMAND: osmand.decode,
    Format.TELTONIKA: teltonika.decode,
}
