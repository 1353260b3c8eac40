"""One small file per payload format, and the table that names them all."""

from collections.abc import Mapping
from typing import Protocol

from core.topics import Format
from ingest.decoders import cbor, native_json, osmand, owntracks, teltonika
from ingest.decoders.plain import Decoded, Payload


class Decoder(Protocol):
    def __call__(self, payload: Payload, max_samples: int = ..., /) -> Decoded:
        """The samples of a message, and a verdict for each of its samples that is none.

        Raises Reject, and nothing else, when no part of the message is a sample, or when it has more than
        `max_samples`. Judges form only; `ingest.validate` judges content.
        """
        ...


DECODERS: Mapping[Format, Decoder] = {
    Format.JSON: native_json.decode,
    Format.CBOR: cbor.decode,
    Format.OWNTRACKS: owntracks.decode,
    Format.OSMAND: osmand.decode,
    Format.TELTONIKA: teltonika.decode,
}
