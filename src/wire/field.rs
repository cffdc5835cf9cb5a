//! The names that all dialects' trees lead to: what a place in a provider's document means.

use crate::json::Meaning;

/// What a place in a provider's document means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The model that answers.
    Model,
    /// The answer's id.
    Id,
    /// OpenAI's `system_fingerprint`.
    Fingerprint,
    /// The tier in which the provider served the call.
    ServiceTier,
    /// How fast it served it (Anthropic): `fast` is a tier of its own.
    Speed,
    /// The event's own type, where the document says it.
    EventType,
    /// An element of a document that is an array of events.
    Element,

    /// The list of choices (candidates, outputs).
    Choices,
    /// One of them.
    Choice,
    /// Its number, where it has one.
    ChoiceIndex,
    /// Why it ended.
    Finish,
    /// Why the prompt was blocked: an end without a choice.
    Blocked,

    /// Visible text.
    Text,
    /// Reasoning.
    Reasoning,
    /// The same, where it may come under several names at once.
    ReasoningAs(u8),
    /// What only a piece of a streamed answer has.
    Piece,
    /// Code for a tool that the provider runs, and other content that is no text.
    Args,
    /// A piece of something whose kind the event's type tells.
    Delta,
    /// A part whose kind other members tell.
    Part,
    /// The text of such a part.
    PartText,
    /// Whether such a part is a thought.
    PartThought,
    /// Its type, where that tells it.
    PartType,

    /// A tool call.
    Tool,
    /// The provider's id for it.
    ToolId,
    /// A piece of its arguments, or all of them.
    ToolArgs,
    /// All of its arguments, where they are no content: an object, or said before piece by piece.
    ItemArgs,
    /// A piece of the arguments of the call that the event's place names.
    ArgsDelta,
    /// The place of the part of an answer that the event is about.
    BlockIndex,

    /// A JSON-RPC message, or a batch of them.
    Message,
    /// Its method: of a request or a notification.
    RpcMethod,
    /// Its id: of a request or an answer.
    RpcId,
    /// The tool that a request calls.
    RpcName,
    /// What it is called with.
    RpcArgs,
    /// The model's id for the call, where the client passes it on.
    RpcAskedAs,
    /// A result.
    RpcResult,
    /// Whether the result tells of an error.
    RpcIsError,
    /// What kind of result it is.
    RpcResultType,
    /// A part of a result.
    RpcPart,
    /// An error in the place of a result.
    RpcError,

    /// Anything in a document in which sources are looked for.
    Source,
    /// A text that may be such a document.
    SourceText,
    /// Its place among the choice's tool calls.
    ToolIndex,
    /// Its name.
    ToolName,
    /// Something that may be a tool call: its type tells.
    Item,
    /// Its type.
    ItemType,
    /// The place in the output of the event's item.
    ItemIndex,
    /// A tool call's type, where the provider's own tools look like the client's.
    ToolType,

    /// A usage report that replaces the one before.
    Usage,
    /// What a usage report tells apart of how it came about (Anthropic), compactions among it.
    Iterations,
    /// One part of that, with its [`Field::LineKind`] and counts of its own.
    Iteration,
    /// Input tokens.
    Input,
    /// Input tokens where a later zero does not count.
    InputNotZero,
    /// Input tokens of one of several inputs: they add up.
    InputMore,
    /// Output tokens.
    Output,
    /// All tokens.
    Total,
    /// Tokens read from a cache.
    CacheRead,
    /// Tokens written to a cache.
    CacheWrite,
    /// As many of those as were written to stay for an hour: a number, or a [`Field::LineKind`] with its number.
    CacheWriteHour,
    /// Input tokens that are sound: the same.
    AudioInput,
    /// As many of those as were read from a cache.
    AudioCached,
    /// Output tokens that are sound.
    AudioOutput,
    /// What a line of a breakdown counts: a modality, a time to live.
    LineKind,
    /// How many tokens it counts.
    LineTokens,
    /// Reasoning tokens.
    ReasoningTokens,
    /// Prompt tokens of tools that the provider ran (Gemini).
    ToolPrompt,
    /// Input tokens as Bedrock's own meter says: only where the model says nothing.
    MeterInput,
    /// Output tokens as Bedrock's own meter says.
    MeterOutput,

    /// A time that the server measured.
    Server(ServerTime, Unit),

    /// An error: an object, or a bare text.
    Error,
    /// Its type.
    ErrorType,
    /// Its code, which tells where there is no type.
    ErrorCode,
    /// A code at the top of a document: an error where there is nothing else.
    FlatCode,
    /// A type beside such a code; else an [`Field::EventType`].
    FlatType,
    /// A status that is zero where all went well.
    ErrorStatus,
    /// `false` where something went wrong.
    Success,
    /// The end of the answer, whatever the value.
    End,
    /// `true` at the end of the answer.
    EndIfTrue,
    /// Bedrock's guardrail: `INTERVENED` ends the answer.
    Guardrail,
}

/// The times that servers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTime {
    /// Waiting for a slot.
    Queue,
    /// Reading the prompt.
    Prompt,
    /// Writing the answer.
    Decode,
    /// Loading the model.
    Load,
    /// Until the first token.
    FirstToken,
    /// All of it.
    Total,
}

/// The unit a server tells a time in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Nanoseconds.
    Ns,
}

impl Meaning for Field {
    fn wants_text(self) -> bool {
        use Field::{
            Blocked, ErrorCode, ErrorStatus, ErrorType, EventType, Fingerprint, Finish, FlatCode, FlatType, Guardrail,
            Id, ItemType, LineKind, Model, PartType, RpcAskedAs, RpcId, RpcMethod, RpcName, RpcResultType, ServiceTier,
            Source, Speed, ToolId, ToolName, ToolType,
        };
        matches!(
            self,
            Model
                | Id
                | Fingerprint
                | ServiceTier
                | LineKind
                | EventType
                | Finish
                | Blocked
                | Guardrail
                | ToolId
                | RpcMethod
                | RpcId
                | RpcName
                | RpcAskedAs
                | RpcResultType
                | Source
                | ToolName
                | ToolType
                | ItemType
                | ErrorType
                | ErrorCode
                | ErrorStatus
                | FlatCode
                | FlatType
                | Speed
                | PartType
        )
    }

    fn captured(self) -> bool {
        use Field::{ArgsDelta, Delta, ItemArgs, PartText, RpcArgs, RpcPart, SourceText, Text, ToolArgs};
        matches!(self, ToolArgs | ItemArgs | ArgsDelta | RpcArgs | RpcPart | SourceText | Text | PartText | Delta)
    }

    fn tells_names(self) -> bool {
        self == Field::Source
    }
}
