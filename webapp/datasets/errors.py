"""Why a dataset could not be added, changed or deleted, each with the sentence the reader sees."""

from collections.abc import Sequence

from worker.contract.rows_report import FileRefusal


class DatasetRefusal(Exception):
    """Base of this app's refusals. `field` names the form field at fault, `status` the code of the reply."""

    field = "file"
    status = 422


class FileRefused(DatasetRefusal):
    """Nothing of the file can be used."""

    def __init__(self, refusal: FileRefusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class FileTooLarge(DatasetRefusal):
    status = 413

    def __init__(self, *, limit: str) -> None:
        super().__init__(
            f"The file is larger than {limit}, the limit of this installation. Split it, or ask an administrator to raise it."
        )


class NoRoom(DatasetRefusal):
    status = 507

    def __init__(self) -> None:
        super().__init__("The disk of the dashboard is full, so the file was not stored. Ask an administrator to free some space.")


class DatasetNameTaken(DatasetRefusal):
    field = "name"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(f"Your team has a dataset named “{name}” already. Choose another name, or add a version to that one.")


class SameBytes(DatasetRefusal):
    status = 409

    def __init__(self, number: int) -> None:
        super().__init__(f"This is the same file as version {number}, byte for byte. There is nothing new to add.")


class VersionInUse(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, users: Sequence[str]) -> None:
        super().__init__(f"This version stays: it is used by {', '.join(users)}. What was made of it must remain known.")


class DatasetInUse(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, jobs: Sequence[str], *, count: int) -> None:
        named = ", ".join(jobs)
        others = f" and {count - len(jobs):,} more" if count > len(jobs) else ""
        noun = "A job uses" if count == 1 else f"{count:,} jobs use"
        super().__init__(
            f"{noun} this dataset, so it stays: {named}{others}. A job's data must remain known as long as the job does."
        )


class DeletedMeanwhile(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has just been deleted, so nothing was made of it. Load the page again to see what there is.")


class UploadRefusal(DatasetRefusal):
    """Of a file that is sent in pieces. `code` is for programs."""

    field = "uploads"
    status = 400
    code = "bad_request"


class BadUploadRequest(UploadRefusal):
    """The sender does not speak tus 1.0 as the dashboard does."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class UnknownUpload(UploadRefusal):
    status = 404
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("There is no such upload of yours. Send the file again.")


class UploadExpired(UploadRefusal):
    status = 410
    code = "gone"

    def __init__(self) -> None:
        super().__init__("Nothing came for this upload for too long, so it is not kept any more. Send the file again.")


class UploadBusy(UploadRefusal):
    status = 423
    code = "locked"

    def __init__(self) -> None:
        super().__init__("This file is being sent or used already, from another window or program. Try again when that has ended.")


class WrongOffset(UploadRefusal):
    status = 409
    code = "conflict"

    def __init__(self, *, offset: int, said: int) -> None:
        super().__init__(
            f"{offset:,} bytes of this file are here, and the request goes on from {said:,}. Ask for the offset first."
        )


class PastTheEnd(UploadRefusal):
    status = 413
    code = "too_large"

    def __init__(self, *, size: int) -> None:
        super().__init__(f"More bytes came than the {size:,} that were announced. These were not taken.")


class WrongPiece(UploadRefusal):
    status = 460  # "Checksum Mismatch", a number of the tus protocol
    code = "checksum_mismatch"

    def __init__(self) -> None:
        super().__init__("These bytes are not those that their checksum says. They were not taken; send them again.")


class WrongFile(UploadRefusal):
    status = 460
    code = "checksum_mismatch"

    def __init__(self) -> None:
        super().__init__("The file that arrived has another SHA-256 than was announced, so it was thrown away. Send it again.")


class TooManyUploads(UploadRefusal):
    status = 429
    code = "too_many_uploads"

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"You have {limit} uploads that are not used yet. Use or discard some of them first.")


class UploadUnfinished(UploadRefusal):
    status = 409
    code = "conflict"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has not arrived completely. Go on with it, then try again.")


class SameMapping(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, number: int) -> None:
        super().__init__(f"Version {number} is read in this very way already. There is nothing to change.")


class MappedMeanwhile(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self) -> None:
        super().__init__("Somebody else has chosen the columns of this version meanwhile. Load the page again to see how.")
