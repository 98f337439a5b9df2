"""Builds the parts from settings and hands them to one another: the one place that knows all."""

import getpass
import os
import platform
import time
from dataclasses import dataclass
from functools import cached_property

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.audit.auditor import Auditor
from dicom_node.audit.chain import AuditChain
from dicom_node.audit.message import Actor
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.removal import Removal
from dicom_node.transactions import Transactions
from models.registry import Registry
from serving.assessments import Assessments
from serving.engine import Client
from serving.journal import Journal
from serving.messages import Messages
from serving.monitoring.watch import Watch
from serving.notify.story import Stories
from serving.notify.teller import Teller
from serving.operations import Operations
from serving.people.book import People, SessionRules
from serving.precedence import settle_all
from serving.retention import Retention
from serving.saved_objects import SavedObjects
from serving.settings import Settings
from serving.shadow.readings import ShadowReadings
from serving.slots import Slots, open_slots
from serving.ups.analyses import Analyses
from serving.ups.fetching import Fetching
from serving.ups.performer import Performer
from serving.ups.subscriptions import Subscriptions
from serving.ups.worklist import Worklist

_GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Parts:
    """Parts made when first asked for, so that each process makes only what it needs."""

    settings: Settings
    process: str = ""  # node, worker or web; a command is its user

    @cached_property
    def index(self) -> Index:
        """The index, its schema brought up to date."""
        self.settings.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = schema.connect(self.settings.index_url)
        schema.upgrade(engine)
        settle_all(engine, self.settings.tenant)
        return Index(engine, self.settings.tenant, holds=self.archive.holds)

    @cached_property
    def archive(self) -> Archive:
        """The instance files."""
        storage = self.settings.storage
        return Archive(
            self.settings.instances_folder,
            reserve_bytes=int(storage.min_free_gb * _GIGABYTE),
            low_bytes=int(storage.low_free_gb * _GIGABYTE),
        )

    @cached_property
    def ingest(self) -> Ingest:
        """The way into archive and index."""
        return Ingest(self.archive, self.index, time.time, bounds=self.settings.limits.bounds)

    @cached_property
    def journal(self) -> Journal:
        """The memory of the work."""
        return Journal(
            self.index.engine,
            tenant=self.settings.tenant,
            clock=time.time,
            messages=self.messages,
        )

    @cached_property
    def messages(self) -> Messages:
        """The memory of what other systems are told."""
        wanted = {target.name: target.events for target in self.settings.notify}
        tenant = self.settings.tenant
        return Messages(self.index.engine, tenant=tenant, clock=time.time, wanted=wanted)

    @cached_property
    def teller(self) -> Teller:
        """What tells other systems."""
        return Teller(
            self.settings.notify,
            self.messages,
            Stories(
                self.index,
                self.archive,
                self.journal,
                assessments=self.assessments,
                messages=self.messages,
            ),
            limits=self.settings.delivery,
            slots=self.slots,
        )

    @cached_property
    def assessments(self) -> Assessments:
        """The memory of what readers think."""
        return Assessments(self.index.engine, tenant=self.settings.tenant, clock=time.time)

    @cached_property
    def people(self) -> People:
        """Who may use the web interfaces."""
        web, sign_in = self.settings.web, self.settings.sign_in
        rules = SessionRules(
            idle_s=web.session_idle_min * 60,
            longest_s=web.session_hours * 3600,
            secure=web.secure_cookies or sign_in.secure,
            provider=sign_in.on,
            local_accounts=sign_in.local_accounts,
        )
        tenant = self.settings.tenant
        return People(self.index.engine, tenant=tenant, clock=time.time, rules=rules)

    @cached_property
    def saved(self) -> SavedObjects:
        """The memory of what others saved into studies."""
        return SavedObjects(
            self.index.engine, self.assessments, tenant=self.settings.tenant, clock=time.time
        )

    @cached_property
    def audit_chain(self) -> AuditChain:
        """The records of the audit trail."""
        settings = self.settings
        source = settings.audit.source or f"{settings.node.ae_title}@{platform.node()}"
        return AuditChain(self.index.engine, tenant=settings.tenant, source=source)

    @cached_property
    def auditor(self) -> Auditor:
        """What notes who saw and did what."""
        name = f"wetread-{self.process}" if self.process else account()
        return Auditor(
            self.audit_chain,
            process=Actor(user=name, ae_title=self.settings.node.ae_title),
            account=account(),
            patient_of=lambda study_uid: self.index.study(study_uid).patient_id,
            clock=time.time,
            visit_s=60 * self.settings.audit.visit_min,
        )

    @cached_property
    def transactions(self) -> Transactions:
        """Storage commitment, asked and answered."""
        return Transactions(self.index.engine, time.time, self.settings.tenant)

    @cached_property
    def client(self) -> Client:
        """The work engine, seen from outside."""
        return Client(self.settings.work_url)

    @cached_property
    def slots(self) -> Slots:
        """The slots of workers."""
        return open_slots(self.settings.work_url, self.settings.slots_folder)

    @cached_property
    def operations(self) -> Operations:
        """What may be asked of the work."""
        return Operations(
            settings=self.settings, index=self.index, journal=self.journal, client=self.client
        )

    @cached_property
    def worklist(self) -> Worklist:
        """The memory of the worklist."""
        return Worklist(
            self.index.engine,
            tenant=self.settings.tenant,
            clock=time.time,
            subscriptions=self.subscriptions,
        )

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Who watches the worklist."""
        return Subscriptions(self.index.engine, tenant=self.settings.tenant, clock=time.time)

    @cached_property
    def analyses(self) -> Analyses:
        """Our analyses on the worklist."""
        title = self.settings.node.ae_title
        return Analyses(self.worklist, self.journal, self.index, ae_title=title)

    @cached_property
    def performer(self) -> Performer:
        """What claims work items of other systems."""
        peers, title = self.settings.peers, self.settings.node.ae_title
        return Performer(
            self.worklist,
            self.analyses,
            operations=self.operations,
            index=self.index,
            journal=self.journal,
            fetching=Fetching(peers, ae_title=title, clock=time.time),
        )

    @cached_property
    def retention(self) -> Retention:
        """What decides which studies go, and removes them."""
        return Retention(
            self.settings.retention,
            removal=Removal(self.index, self.archive, self.auditor),
            index=self.index,
            journal=self.journal,
            assessments=self.assessments,
            client=self.client,
        )

    @cached_property
    def shadow_readings(self) -> ShadowReadings:
        """What versions said that are tried out beside the served ones."""
        tenant = self.settings.tenant
        return ShadowReadings(self.index.engine, tenant=tenant, clock=time.time)

    @cached_property
    def watch(self) -> Watch:
        """What models do over time."""
        return Watch(self.journal.observations, self.settings.monitoring)

    @cached_property
    def registry(self) -> Registry:
        """The installed model packages."""
        return Registry(self.settings.models_folder)


def account() -> str:
    """Return whose this process is in the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for it
        return f"uid {os.getuid()}"
