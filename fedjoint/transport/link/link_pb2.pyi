from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "begin", "chunk", "ack", "beat")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    begin: Begin
    chunk: bytes
    ack: Ack
    beat: Beat
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., begin: _Optional[_Union[Begin, _Mapping]] = ..., chunk: _Optional[bytes] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., beat: _Optional[_Union[Beat, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("sequence", "offset")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    offset: int
    def __init__(self, sequence: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("oldest_version", "newest_version", "software", "epoch", "peer_epoch", "received")
    OLDEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEWEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PEER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    oldest_version: int
    newest_version: int
    software: str
    epoch: bytes
    peer_epoch: bytes
    received: Position
    def __init__(self, oldest_version: _Optional[int] = ..., newest_version: _Optional[int] = ..., software: _Optional[str] = ..., epoch: _Optional[bytes] = ..., peer_epoch: _Optional[bytes] = ..., received: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "software", "epoch", "received", "beat_ms")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BEAT_MS_FIELD_NUMBER: _ClassVar[int]
    version: int
    software: str
    epoch: bytes
    received: Position
    beat_ms: int
    def __init__(self, version: _Optional[int] = ..., software: _Optional[str] = ..., epoch: _Optional[bytes] = ..., received: _Optional[_Union[Position, _Mapping]] = ..., beat_ms: _Optional[int] = ...) -> None: ...

class Begin(_message.Message):
    __slots__ = ("sequence", "key", "size", "offset", "raw_size")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    key: str
    size: int
    offset: int
    raw_size: int
    def __init__(self, sequence: _Optional[int] = ..., key: _Optional[str] = ..., size: _Optional[int] = ..., offset: _Optional[int] = ..., raw_size: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class Beat(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("message_type", "group_id", "message_id", "reply_to", "created_at", "ttl", "run_id", "source", "destination", "records", "error")
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    message_type: str
    group_id: str
    message_id: str
    reply_to: str
    created_at: float
    ttl: float
    run_id: int
    source: int
    destination: int
    records: _containers.RepeatedCompositeFieldContainer[Record]
    error: Error
    def __init__(self, message_type: _Optional[str] = ..., group_id: _Optional[str] = ..., message_id: _Optional[str] = ..., reply_to: _Optional[str] = ..., created_at: _Optional[float] = ..., ttl: _Optional[float] = ..., run_id: _Optional[int] = ..., source: _Optional[int] = ..., destination: _Optional[int] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("key", "arrays", "metrics", "config")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    key: str
    arrays: Arrays
    metrics: Values
    config: Values
    def __init__(self, key: _Optional[str] = ..., arrays: _Optional[_Union[Arrays, _Mapping]] = ..., metrics: _Optional[_Union[Values, _Mapping]] = ..., config: _Optional[_Union[Values, _Mapping]] = ...) -> None: ...

class Arrays(_message.Message):
    __slots__ = ("arrays",)
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    arrays: _containers.RepeatedCompositeFieldContainer[Array]
    def __init__(self, arrays: _Optional[_Iterable[_Union[Array, _Mapping]]] = ...) -> None: ...

class Array(_message.Message):
    __slots__ = ("key", "dtype", "shape", "stype", "size")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    STYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    key: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    stype: str
    size: int
    def __init__(self, key: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., stype: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("key", "integer", "real", "truth", "text", "raw", "integers", "reals", "truths", "texts", "raws")
    KEY_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    REALS_FIELD_NUMBER: _ClassVar[int]
    TRUTHS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    RAWS_FIELD_NUMBER: _ClassVar[int]
    key: str
    integer: int
    real: float
    truth: bool
    text: str
    raw: bytes
    integers: Integers
    reals: Reals
    truths: Truths
    texts: Texts
    raws: Raws
    def __init__(self, key: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., truth: _Optional[bool] = ..., text: _Optional[str] = ..., raw: _Optional[bytes] = ..., integers: _Optional[_Union[Integers, _Mapping]] = ..., reals: _Optional[_Union[Reals, _Mapping]] = ..., truths: _Optional[_Union[Truths, _Mapping]] = ..., texts: _Optional[_Union[Texts, _Mapping]] = ..., raws: _Optional[_Union[Raws, _Mapping]] = ...) -> None: ...

class Integers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Reals(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Truths(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Raws(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, values: _Optional[_Iterable[bytes]] = ...) -> None: ...
