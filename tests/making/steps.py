"""Which check of the format each bad vector breaks."""

_BY_CHECK = {
    "2.1": """
        bad-empty
        bad-stream-cut-at-0
    """,
    "2.2": """
        bad-behind-a-byte
        bad-magic-begun-otherwise
        bad-magic-first
        bad-magic-last
        bad-pickle
    """,
    "2.3": """
        bad-cut-at-63
        bad-magic-alone
        bad-magic-begun
        bad-stream-cut-at-63
    """,
    "2.4": """
        bad-version-0
        bad-version-2
        bad-version-257
    """,
    "2.5": """
        bad-pair-suite-and-key
        bad-suite-0
        bad-suite-258
        bad-suite-3
    """,
    "2.6": """
        bad-flags
        bad-flags-high
    """,
    "2.7": """
        bad-reserved-first
        bad-reserved-last
    """,
    "2.8": """
        bad-codec-2
        bad-codec-256
    """,
    "2.9": """
        bad-metadata-65537
        bad-metadata-size-1
        bad-metadata-size-65537
    """,
    "2.10": """
        bad-segments-0
        bad-segments-65537
        bad-segments-65537-tagged
    """,
    "2.11": """
        bad-pair-total-large-and-max-bytes
        bad-total-2-44-and-more
        bad-total-2-63
        bad-total-2-64-less-32
    """,
    "3.1": """
        bad-pair-total-small-and-max-bytes
        bad-total-0
        bad-total-inside-the-head
        bad-total-without-body-and-tag
    """,
    "3.2": """
        bad-pair-total-odd-and-max-bytes
        bad-total-odd
        bad-total-odd-and-tagged
    """,
    "3.3": """
        bad-cut-at-159
        bad-cut-at-160
        bad-cut-at-191
        bad-cut-at-192
        bad-cut-at-255
        bad-cut-at-256
        bad-cut-at-287
        bad-cut-at-64
        bad-pair-size-and-key
        bad-pair-size-and-max-bytes
        bad-total-less
        bad-trailing-byte
        bad-twice
    """,
    "3.4": """
        bad-option-max-bytes
        bad-pair-max-bytes-and-key
    """,
    "4.1": """
        bad-stream-cut-at-191
    """,
    "4.2": """
        bad-flip-id-first
        bad-flip-id-last
        bad-id-of-zeros
        bad-pair-cut-and-key
        bad-stranger
    """,
    "4.3": """
        bad-revoked
        bad-revoked-and-broken
        bad-revoked-and-suite
    """,
    "4.4": """
        bad-suite-1-by-key-2
        bad-suite-2-by-key-1
    """,
    "5.1": """
        bad-flip-head-padding
        bad-flip-header-tag
        bad-flip-metadata
        bad-flip-metadata-padding
        bad-flip-sha256-head
        bad-flip-sha256-header-tag
        bad-flip-table
        bad-stranger-under-our-id
        bad-tags-swapped
    """,
    "5.2": """
        bad-padding-behind-metadata
    """,
    "5.3": """
        bad-padding-behind-table
    """,
    "5.4": """
        bad-stored-and-raw-differ
    """,
    "5.5": """
        bad-raw-size-2-44-and-one
        bad-raw-size-2-64-less-one
        bad-segment-wraps
        bad-segments-wrap
    """,
    "5.6": """
        bad-segment-empty
        bad-segment-too-long
        bad-zstd-stored-wraps
    """,
    "5.7": """
        bad-json-a-list
        bad-json-a-number
        bad-json-byte-order-mark
        bad-json-c0-last
        bad-json-comma-behind
        bad-json-control-raw
        bad-json-duplicate-in-info
        bad-json-duplicate-name
        bad-json-escape
        bad-json-escaped-slash
        bad-json-five-thousand-digits
        bad-json-float-exponent
        bad-json-float-exponent-left-out
        bad-json-float-exponent-not-needed
        bad-json-float-exponent-short
        bad-json-float-exponent-unsigned
        bad-json-float-exponent-with-point
        bad-json-float-not-the-shortest
        bad-json-float-spelling
        bad-json-float-too-large
        bad-json-infinity
        bad-json-leading-zero
        bad-json-minus-zero
        bad-json-nan
        bad-json-not-utf-8
        bad-json-raw-surrogate
        bad-json-space
        bad-json-space-behind
        bad-json-surrogate
        bad-json-two-objects
        bad-json-unsorted
        bad-json-unsorted-in-info
    """,
    "5.8": """
        bad-json-c1
        bad-json-c1-last
        bad-json-class-a-number
        bad-json-content-a-list
        bad-json-context-a-number
        bad-json-context-control
        bad-json-context-empty
        bad-json-context-nfd
        bad-json-context-of-few-characters
        bad-json-context-too-long
        bad-json-control
        bad-json-created-a-float
        bad-json-created-a-list
        bad-json-created-a-text
        bad-json-created-negative
        bad-json-created-too-large
        bad-json-created-true
        bad-json-delete
        bad-json-expires-a-float
        bad-json-expires-a-list
        bad-json-expires-a-text
        bad-json-expires-negative
        bad-json-expires-too-large
        bad-json-expires-true
        bad-json-external-a-list
        bad-json-external-a-number
        bad-json-external-and-more
        bad-json-external-bytes-a-float
        bad-json-external-bytes-a-list
        bad-json-external-bytes-a-text
        bad-json-external-bytes-negative
        bad-json-external-bytes-too-large
        bad-json-external-bytes-true
        bad-json-external-count-a-float
        bad-json-external-count-a-list
        bad-json-external-count-a-text
        bad-json-external-count-negative
        bad-json-external-count-too-large
        bad-json-external-count-true
        bad-json-external-digest-a-number
        bad-json-external-digest-short
        bad-json-external-none
        bad-json-external-short
        bad-json-external-upper-case
        bad-json-imports-a-text
        bad-json-imports-an-object
        bad-json-imports-by-utf-16
        bad-json-imports-of-numbers
        bad-json-imports-of-one
        bad-json-imports-of-three
        bad-json-imports-omitted-a-float
        bad-json-imports-omitted-a-list
        bad-json-imports-omitted-a-text
        bad-json-imports-omitted-negative
        bad-json-imports-omitted-too-large
        bad-json-imports-omitted-true
        bad-json-imports-twice
        bad-json-imports-unsorted
        bad-json-imports-unsorted-by-name
        bad-json-imports-with-control
        bad-json-info-a-list
        bad-json-info-a-text
        bad-json-info-text-delete
        bad-json-info-too-large
        bad-json-info-too-small
        bad-json-name-empty
        bad-json-name-not-ascii
        bad-json-name-too-long
        bad-json-name-with-colon
        bad-json-name-with-line-end
        bad-json-name-with-space
        bad-json-no-content
        bad-json-null
        bad-json-null-in-info
        bad-json-other-content
        bad-json-other-source
        bad-json-raw-size-a-float
        bad-json-raw-size-a-list
        bad-json-raw-size-a-text
        bad-json-raw-size-negative
        bad-json-raw-size-too-large
        bad-json-raw-size-true
        bad-json-serial-a-float
        bad-json-serial-a-list
        bad-json-serial-a-text
        bad-json-serial-negative
        bad-json-serial-too-large
        bad-json-serial-true
        bad-json-source-a-number
        bad-json-thousands-deep
        bad-json-too-deep
        bad-json-too-deep-by-a-list
        bad-json-true-as-field
        bad-json-unknown-field
        bad-json-versions-a-list
        bad-json-versions-a-number
        bad-json-versions-name
        bad-json-versions-name-empty
        bad-json-versions-text-delete
        bad-pair-field-and-context
    """,
    "5.9": """
        bad-json-imports-and-a-count
    """,
    "5.10": """
        bad-json-joblib-without-a-size
        bad-json-raw-size-of-a-pickle
    """,
    "5.11": """
        bad-external-of-inventory
        bad-external-of-joblib
    """,
    "5.12": """
        bad-external-beside-segments
        bad-pair-external-and-context
    """,
    "6.1": """
        bad-bound-key-longer
        bad-bound-key-none
        bad-bound-key-other
        bad-pair-bound-key-and-max-bytes
    """,
    "6.2": """
        bad-pair-expanded-and-context
        bad-pair-raw-and-context
    """,
    "6.3": """
        bad-context-not-given
        bad-context-not-sealed
        bad-context-other
        bad-pair-context-and-cut
        bad-pair-context-and-expires
    """,
    "6.4": """
        bad-expired-long-ago
        bad-expired-this-very-second
        bad-pair-expires-and-body
        bad-pair-expires-and-serial
    """,
    "6.5": """
        bad-option-max-age-not-created
    """,
    "6.6": """
        bad-option-max-age-created-at-the-end
        bad-option-max-age-created-beyond
    """,
    "6.7": """
        bad-option-max-age
        bad-pair-age-and-serial
    """,
    "6.8": """
        bad-option-min-serial
        bad-option-min-serial-none
    """,
    "6.9": """
        bad-option-pin-newer
        bad-option-pin-without-serial
        bad-pair-pin-and-allow
    """,
    "6.10": """
        bad-option-allow-beginning
        bad-option-allow-dotted-by-module
        bad-option-allow-listed-and-unused
        bad-option-allow-nothing
        bad-option-allow-other-name
        bad-pair-allow-and-versions
    """,
    "6.11": """
        bad-option-versions-missing
        bad-option-versions-python
        bad-pair-versions-and-body
    """,
    "7.1": """
        bad-pair-cut-and-seal
        bad-stream-cut-at-192
        bad-stream-cut-at-255
        bad-stream-cut-at-287
    """,
    "7.2": """
        bad-flip-body
        bad-flip-body-padding
        bad-flip-envelope-tag
        bad-flip-sha256-body
        bad-flip-sha256-envelope-tag
        bad-head-of-one-body-of-another
        bad-leaves-swapped
        bad-pair-seal-and-digest
    """,
    "7.3": """
        bad-padding-of-segment-first
        bad-padding-of-segment-last
        bad-pair-padding-and-digest
    """,
    "7.4": """
        bad-option-expect-digest
        bad-option-expect-digest-suite
        bad-pair-digest-and-pin
    """,
    "7.5": """
        bad-option-pin-of-other-suite-and-metadata
        bad-option-pin-other
        bad-pair-pin-and-content
    """,
    "8.1": """
        bad-content-inventory
        bad-content-inventory-empty
        bad-pair-content-and-frames
    """,
    "8.2": """
        bad-pair-frames-and-external
        bad-pair-frames-and-segments
        bad-zstd-bytes-behind
        bad-zstd-frame-less
        bad-zstd-frame-more
        bad-zstd-frame-none
        bad-zstd-frames-two
        bad-zstd-no-table
        bad-zstd-raw-2-43
        bad-zstd-raw-another-frame
        bad-zstd-raw-none
        bad-zstd-raw-none-of-zeros
        bad-zstd-raw-of-2-44
        bad-zstd-stored-none
        bad-zstd-table-cut
        bad-zstd-table-magic
        bad-zstd-table-size
    """,
    "8.3": """
        bad-zstd-bomb
        bad-zstd-frame-block-header-cut
        bad-zstd-frame-block-over-128-kib
        bad-zstd-frame-block-over-size
        bad-zstd-frame-block-over-window
        bad-zstd-frame-block-reserved
        bad-zstd-frame-broken
        bad-zstd-frame-checksum
        bad-zstd-frame-checksum-wrong
        bad-zstd-frame-cut
        bad-zstd-frame-dictionary
        bad-zstd-frame-dictionary-0
        bad-zstd-frame-header-cut
        bad-zstd-frame-legacy
        bad-zstd-frame-magic-cut
        bad-zstd-frame-not-last
        bad-zstd-frame-other
        bad-zstd-frame-reserved-bit
        bad-zstd-frame-rle-cut
        bad-zstd-frame-size-less
        bad-zstd-frame-size-more
        bad-zstd-frame-size-other
        bad-zstd-frame-sizes-cut
        bad-zstd-frame-skippable
        bad-zstd-frame-unused-bit
        bad-zstd-frame-window
        bad-zstd-frame-window-eighth
        bad-zstd-frame-window-sized
        bad-zstd-frames-in-one
        bad-zstd-raw-less
        bad-zstd-raw-more
    """,
    "8.4": """
        bad-zstd-frame-block-damaged
        bad-zstd-frame-holds-less
        bad-zstd-frame-holds-more
        bad-zstd-frame-holds-nothing
        bad-zstd-frame-unsized-less
        bad-zstd-frame-unsized-more
    """,
    "8.5": """
        bad-joblib-of-two-segments
        bad-pair-segments-and-import
    """,
    "8.6": """
        bad-joblib-bz2-streams
        bad-joblib-cut-off
        bad-joblib-damaged
        bad-joblib-gzip-checksum
        bad-joblib-gzip-members
        bad-joblib-gzip-members-of-both
        bad-joblib-gzip-zeros
        bad-joblib-lz4-frames
        bad-joblib-lzma-dictionary
        bad-joblib-lzma-surplus
        bad-joblib-plain-too-small
        bad-joblib-size-2-53-less-one
        bad-joblib-surplus
        bad-joblib-too-large
        bad-joblib-too-small
        bad-joblib-xz-dictionary
        bad-joblib-xz-padding
        bad-joblib-xz-streams
    """,
    "8.7": """
        bad-external-not-given
        bad-external-of-another-count
        bad-external-of-another-order
        bad-external-of-another-size
        bad-external-of-joined
        bad-external-of-one
        bad-external-of-three
    """,
    "8.8": """
        bad-import-by-extension
        bad-import-by-inst
        bad-import-by-old-spelling
        bad-import-by-stack
        bad-import-by-surplus
        bad-import-of-joblib
        bad-import-of-joblib-array
        bad-import-of-joblib-dtype
        bad-import-of-none
        bad-import-of-others
    """,
    "8.9": """
        bad-option-allow-not-listed
        bad-option-allow-old-name-as-listed
        bad-option-allow-old-name-of-protocol-3
    """,
    "8.10": """
        bad-joblib-arrays-surplus
        bad-joblib-objects-surplus
        bad-joblib-plain-surplus
        bad-joblib-surplus-in-frame
        bad-joblib-surplus-inside
        bad-stream-surplus
        bad-stream-surplus-in-frame
        bad-stream-surplus-pickle
    """,
    "8.11": """
        bad-buffer-surplus
        bad-buffer-surplus-empty
        bad-external-of-surplus-to-stream
    """,
}
STEPS = {name: check for check, names in _BY_CHECK.items() for name in names.split()}
