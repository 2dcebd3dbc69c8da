"""What a source sent, made fit for PostgreSQL: times, texts, records, payloads.

Pure: bytes and values go in, values come out. JSON travels as its own text, so numbers keep their digits.
The only error raised on purpose is RecordError, or ValueError for an answer that is not JSON at all.
"""
