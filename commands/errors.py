"""What the command service refuses: for callers with a stable code, for devices in AWS IoT's word for it."""

from typing import ClassVar

from core.errors import Conflict, Forbidden, Invalid, MilkrunError, NotFound, Unavailable


class TemplateNotFound(NotFound):
    """The tenant has no such template."""

    code = "command_template_not_found"


class TemplateExists(Conflict):
    """The tenant has a template of that name."""

    code = "command_template_exists"


class TemplateMoved(Conflict):
    """The template was changed by somebody else meanwhile."""

    code = "version_conflict"
    kind = "precondition_failed"


class TemplateDeprecated(Conflict):
    """The template is out of use: nothing new is sent by it."""

    code = "command_template_deprecated"


class InvalidTemplate(Invalid):
    """A template that contradicts itself."""

    code = "invalid_command_template"


class InvalidParameters(Invalid):
    """A parameter is missing, unknown, of another type, or against its condition."""

    code = "invalid_command_parameters"


class InvalidGroup(Invalid):
    """A group without a device, with too many, or named in more than one way."""

    code = "invalid_command_group"


class CommandNotFound(NotFound):
    """The tenant has no such execution."""

    code = "command_not_found"


class BatchNotFound(NotFound):
    """The tenant has no such group of executions."""

    code = "command_batch_not_found"


class TargetNotFound(NotFound):
    """No such device, or another tenant's."""

    code = "device_not_found"


class TargetOutOfService(Conflict):
    """Only an active device is sent commands."""

    code = "device_not_in_service"


class TokenReused(Conflict):
    """The token came before with another request."""

    code = "command_token_reused"


class TooManyOpenCommands(Conflict):
    """The device has as many commands waiting or at work as it may have."""

    code = "too_many_open_commands"


class CommandEnded(Conflict):
    """It is over, so there is nothing to call back."""

    code = "command_ended"


class NotAwaitingApproval(Conflict):
    """It needs no approval, or not any more."""

    code = "command_not_awaiting_approval"


class OwnApproval(Forbidden):
    """Whoever sends a command does not approve it."""

    code = "own_command_approval"


class AnswerRefused(MilkrunError):
    """Base. `aws_error` and the message are what a device reads on its `rejected` topic."""

    aws_error: ClassVar[str]


class InvalidAnswer(AnswerRefused, Invalid):
    """The payload is no answer."""

    code = "invalid_command_answer"
    aws_error = "InvalidRequest"


class UnknownExecution(AnswerRefused, NotFound):
    """The device has no such execution, or was never sent it."""

    code = "unknown_command_execution"
    aws_error = "ResourceNotFound"


class InvalidStateTransition(AnswerRefused, Conflict):
    """Not a status for a device to report."""

    code = "invalid_command_transition"
    aws_error = "InvalidStateTransition"


class TerminalStateReached(AnswerRefused, Conflict):
    """The execution ended otherwise before."""

    code = "command_terminal"
    aws_error = "TerminalStateReached"


class InternalFailure(AnswerRefused, Unavailable):
    """A defect of ours; the answer is kept as a dead letter."""

    code = "command_answer_failed"
    aws_error = "InternalFailure"
