//! `--feature-gates`, `--emulated-version` and `--min-compatibility-version`
//! (`k8s.io/component-base/{featuregate,compatibility}`).
//!
//! Names are those of `pkg/features/kube_features.go` and the libraries it takes in. Only names and
//! values are checked: no feature is turned on or off.

use std::collections::BTreeMap;

use super::Flags;
use crate::audit::options::number::parse_bool;
use crate::audit::options::value::Value;

/// Features that may be turned on and off.
const OPEN: &str = "APIResponseCompression APIServerIdentity APIServerTracing APIServingWithRoutine
AllAlpha AllBeta AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests
AllowOverwriteTerminationGracePeriodSeconds AllowParsingUserUIDFromCertAuth
AllowUnsafeMalformedObjectDeletion AuthorizePodWebsocketUpgradeCreatePermission
CBORServingAndStorage CPUManagerPolicyAlphaOptions CPUManagerPolicyBetaOptions
CRDObservedGenerationTracking CSIServiceAccountTokenSecrets CSIVolumeHealth
ChangeContainerStatusOnKubeletRestart ClearingNominatedNodeNameAfterBinding ClientsAllowCBOR
ClientsPreferCBOR CloudControllerManagerWatchBasedRoutesReconciliation
CloudControllerManagerWebhook ClusterTrustBundle ClusterTrustBundleProjection ComponentFlagz
ComponentStatusz ConcurrentWatchObjectDecode ConstrainedImpersonation ContainerCheckpoint
ContainerRestartRules ContainerStopSignals ContextualLogging CoordinatedLeaderElection
CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod DRAAdminAccess DRAConsumableCapacity
DRADeviceBindingConditions DRADeviceTaintRules DRADeviceTaints DRAExtendedResource
DRAPartitionableDevices DRAPrioritizedList DRAResourceClaimDeviceStatus
DRASchedulerFilterTimeout DeclarativeValidation DeclarativeValidationBeta
DeclarativeValidationTakeover DeploymentReplicaSetTerminatingReplicas DetectCacheInconsistency
DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion EnvFiles EventedPLEG
ExternalServiceAccountTokenSigner GangScheduling GenericWorkload GitRepoVolumeDriver
GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance
HPAScaleToZero HostnameOverride ImageVolume ImageVolumeWithDigest InOrderInformers
InOrderInformersBatchProcess InPlacePodLevelResourcesVerticalScaling
InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory
InTreePluginPortworxUnregister KMSv1 KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
KubeletFineGrainedAuthz KubeletInUserNamespace KubeletPSI KubeletPodResourcesDynamicResources
KubeletPodResourcesGet KubeletRegistrationGetOnExistsOnly KubeletSeparateDiskGC
KubeletServiceAccountTokenForCredentialProviders ListFromCacheSnapshot
LocalStorageCapacityIsolationFSQuotaMonitoring LoggingAlphaOptions LoggingBetaOptions
ManifestBasedAdmissionControlConfig MatchLabelKeysInPodTopologySpread
MatchLabelKeysInPodTopologySpreadSelectorMerge MaxUnavailableStatefulSet MemoryQoS
MutableCSINodeAllocatableCount MutablePVNodeAffinity MutablePodResourcesForSuspendedJobs
MutableSchedulingDirectivesForSuspendedJobs MutatingAdmissionPolicy NativeHistograms
NodeDeclaredFeatures NodeLogQuery NominatedNodeNameForExpectation OpenAPIEnums
OpportunisticBatching PodAndContainerStatsFromCRI PodCertificateRequest PodDeletionCost
PodLevelResources PodLogsQuerySplitStreams PodReadyToStartContainersCondition
PodTopologyLabelsAdmission PortForwardWebsockets PreventStaticPodAPIReferences ProcMountType
QOSReserved ReduceDefaultCrashLoopBackOffDecay RelaxedServiceNameValidation
ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResourceHealthStatus
RestartAllContainersOnContainerExits RotateKubeletServerCertificate RuntimeClassInImageCriApi
SELinuxChangePolicy SELinuxMount SELinuxMountReadWriteOncePod SchedulerAsyncAPICalls
SchedulerAsyncPreemption SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction
ShardedListAndWatch SizeBasedListCostEstimate StatefulSetSemanticRevisionComparison
StorageCapacityScoring StorageVersionAPI StorageVersionHash StorageVersionMigrator
StrictIPCIDRValidation StructuredAuthenticationConfigurationEgressSelector
StructuredAuthenticationConfigurationJWKSMetrics TaintTolerationComparisonOperators
TokenRequestServiceAccountUIDValidation TopologyManagerPolicyAlphaOptions
TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests
UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy
UserNamespacesHostNetworkSupport UserNamespacesSupport VolumeLimitScaling
WatchCacheInitializationPostStartHook WatchList WatchListClient WindowsCPUAndMemoryAffinity
WindowsGracefulNodeShutdown WorkloadWithJob";

/// Generally available features, locked to `true`.
const LOCKED_ON: &str = "AggregatedDiscoveryRemoveBetaType AnonymousAuthConfigurableEndpoints
AnyVolumeDataSource AuthorizeNodeWithSelectors AuthorizeWithSelectors BtreeWatchCache
CPUCFSQuotaPeriod CPUManagerPolicyOptions CRDValidationRatcheting CSIMigrationPortworx
ConsistentListFromCache CustomResourceFieldSelectors DisableAllocatorDualWrite
DynamicResourceAllocation ExecProbeTimeout HonorPVReclaimPolicy ImageMaximumGCAge
InPlacePodVerticalScaling InPlacePodVerticalScalingAllocatedStatus JobBackoffLimitPerIndex
JobManagedBy JobPodReplacementPolicy JobSuccessPolicy KubeletCgroupDriverFromCRI
KubeletPodResourcesListUseActivePods KubeletTracing LogarithmicScaleDown LoggingStableOptions
MatchLabelKeysInPodAffinity MemoryManager MultiCIDRServiceAllocator NFTablesProxyMode
NodeInclusionPolicyInPodTopologySpread NodeSwap OrderedNamespaceDeletion PodLifecycleSleepAction
PodLifecycleSleepActionAllowZero PodObservedGenerationTracking PodSchedulingReadiness
PreferSameTrafficDistribution RecoverVolumeExpansionFailure RecursiveReadOnlyMounts
RelaxedDNSSearchValidation RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization
RetryGenerateName SchedulerQueueingHints SeparateTaintEvictionController ServiceAccountTokenJTI
ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation
ServiceAccountTokenPodNodeInfo ServiceTrafficDistribution SidecarContainers StorageNamespaceIndex
StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf
StructuredAuthenticationConfiguration SupplementalGroupsPolicy SystemdWatchdog TopologyAwareHints
TopologyManagerPolicyOptions VolumeAttributesClass WinDSR WinOverlay WindowsHostNetwork";

/// Deprecated features, locked to `false`.
const LOCKED_OFF: &str = "SeparateCacheWatchRPC WatchFromStorageWithoutResourceVersion";

/// The oldest version that can be emulated, and the newest: minor numbers of major 1.
const EMULATED: (u64, u64) = (33, 36);

fn is_in(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// What is set before anything else, even before `--version` is answered
/// (`componentGlobalsRegistry.Set`).
///
/// # Errors
/// The real text.
pub fn set(flags: &Flags) -> Result<(), String> {
    for name in ["emulated-version", "min-compatibility-version"] {
        for component in versions(&flags.line.list(name))?.keys() {
            if component != "kube" {
                return Err(format!("component not registered: {component}"));
            }
        }
    }
    let Value::Gates(gates) = flags.line.value("feature-gates") else {
        return Ok(());
    };
    let prefixed = |component: &str| gates.iter().any(|(name, _)| name == component);
    if prefixed("") && prefixed("kube") {
        return Err("set kube feature gates with default empty prefix or kube: prefix consistently, do not mix use".to_owned());
    }
    if let Some((component, _)) = gates
        .iter()
        .find(|(component, _)| !component.is_empty() && component != "kube")
    {
        return Err(format!("component not registered: {component}"));
    }
    let mut wanted = BTreeMap::new();
    for (_, gate) in &gates {
        if gate.is_empty() {
            continue;
        }
        let Some((name, value)) = gate.split_once('=') else {
            return Err(format!("missing bool value for {gate}"));
        };
        let (name, value) = (name.trim(), value.trim());
        let on = parse_bool(value)
            .map_err(|error| format!("invalid value of {name}={value}, err: {error}"))?;
        wanted.insert(name, on);
    }
    let mut errors = Vec::new();
    for (name, on) in wanted {
        let locked = if is_in(LOCKED_ON, name) {
            Some(true)
        } else if is_in(LOCKED_OFF, name) {
            Some(false)
        } else if is_in(OPEN, name) {
            None
        } else {
            errors.push(format!("unrecognized feature gate: {name}"));
            break;
        };
        if let Some(locked) = locked
            && locked != on
        {
            errors.push(format!(
                "cannot set feature gate {name} to {on}, feature is locked to {locked}"
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(super::aggregate(&errors))
    }
}

/// Whether a feature that changes what other flags may be is on.
#[must_use]
pub fn enabled(flags: &Flags, feature: &str, default: bool) -> bool {
    let Value::Gates(gates) = flags.line.value("feature-gates") else {
        return default;
    };
    gates
        .iter()
        .filter_map(|(_, gate)| gate.split_once('='))
        .rfind(|(name, _)| name.trim() == feature)
        .map_or(default, |(_, value)| parse_bool(value.trim()) == Ok(true))
}

/// Versions by component, as (major, minor).
fn versions(items: &[String]) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let mut all = BTreeMap::new();
    for item in items {
        let (component, text) = item.split_once('=').unwrap_or(("kube", item));
        let (component, text) = (component.trim(), text.trim());
        let version = version(text)?;
        if all.insert(component.to_owned(), version).is_some() {
            let (major, minor) = version;
            return Err(format!(
                "duplicate version flag, {component}={major}.{minor} and {component}={major}.{minor}"
            ));
        }
    }
    Ok(all)
}

/// `apimachinery/pkg/util/version`.
fn version(text: &str) -> Result<(u64, u64), String> {
    let quoted = crate::audit::options::number::quote(text);
    let core = text.strip_prefix('v').unwrap_or(text);
    let parts: Vec<&str> = core.split('.').collect();
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, minor]) => Ok((*major, *minor)),
        Some([major, minor, 0]) => Ok((*major, *minor)),
        Some([major, minor, patch]) => Err(format!(
            "patch version not allowed, got: kube={major}.{minor}.{patch}"
        )),
        Some([_]) => Err(format!("illegal version string {quoted}")),
        _ => Err(format!("could not parse {quoted} as version")),
    }
}

/// What validation says of emulated and compatible versions (`compatibility/version.go`).
pub fn validate(flags: &Flags, errors: &mut Vec<String>) {
    let of = |name: &str| {
        let all = versions(&flags.line.list(name)).unwrap_or_default();
        all.get("kube").copied()
    };
    let (floor, newest) = ((1, EMULATED.0), (1, EMULATED.1));
    let emulated = of("emulated-version").unwrap_or(newest);
    let text = |(major, minor): (u64, u64)| format!("{major}.{minor}");
    if emulated < floor || emulated > newest {
        errors.push(format!(
            "emulation version {} is not between [{}, {}.0]",
            text(emulated),
            text(floor),
            text(newest)
        ));
    }
    if let Some(compatible) = of("min-compatibility-version")
        && (compatible < floor || compatible > emulated)
    {
        errors.push(format!(
            "minCompatibilityVersion version {} is not between [{}, {}]",
            text(compatible),
            text(floor),
            text(emulated)
        ));
    }
    for (flag, field) in [
        ("emulation-forward-compatible", "EmulationForwardCompatible"),
        (
            "runtime-config-emulation-forward-compatible",
            "RuntimeConfigEmulationForwardCompatible",
        ),
    ] {
        if emulated == newest && flags.line.bool(flag) {
            errors.push(format!("ServerRunOptions.{field} cannot be set to true if the emulation version is the same as the binary version"));
        }
    }
}
