// kustomize のディレクトリを組み立て、できた物を API サーバーと同じ手順で調べる:
// 知らない項目を許さない読み取り → 既定値 → Kubernetes 自身の検証 → Pod Security の restricted → 物どうしの参照。
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var passed, failed int

func report(what string, problems ...string) {
	if len(problems) == 0 {
		passed++
		fmt.Println("ok   " + what)
		return
	}
	failed++
	fmt.Println("FAIL " + what)
	for _, problem := range problems {
		fmt.Println("     " + problem)
	}
}

// validate は、既定値の入った内部の型を API サーバーの検証に掛ける。
func validate(object runtime.Object) (field.ErrorList, bool) {
	switch it := object.(type) {
	case *apps.Deployment:
		options := podutil.GetValidationOptionsFromPodTemplate(&it.Spec.Template, nil)
		return appsvalidation.ValidateDeployment(it, options), true
	case *core.Service:
		return corevalidation.ValidateServiceCreate(it), true
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(it), true
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(it), true
	case *core.PersistentVolumeClaim:
		return corevalidation.ValidatePersistentVolumeClaim(it, corevalidation.PersistentVolumeClaimSpecValidationOptions{}), true
	case *autoscaling.HorizontalPodAutoscaler:
		options := autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1}
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(it, options), true
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(it, policyvalidation.PodDisruptionBudgetValidationOptions{}), true
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(it, networkingvalidation.NetworkPolicyValidationOptions{}), true
	}
	return nil, false
}

// bundle は、参照を確かめるために覚えておくもの。
type bundle struct {
	deployments map[string]*apps.Deployment
	services    []*core.Service
	scalers     []*autoscaling.HorizontalPodAutoscaler
	budgets     []*policy.PodDisruptionBudget
	policies    []*networking.NetworkPolicy
	named       map[string]bool // "ConfigMap/name" など
}

func matches(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// probesPort は、探針が容器の口を指すことを確かめる。REST の口は名前で、gRPC の口は番号で指される。
func probesPort(probe *core.Probe, ports []core.ContainerPort) bool {
	for _, port := range ports {
		if probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Port.StrVal == port.Name {
			return true
		}
		if probe != nil && probe.GRPC != nil && probe.GRPC.Port == port.ContainerPort {
			return true
		}
	}
	return false
}

// references は、名前で指すものが同じ束の中にあることを確かめる。
func references(b *bundle) (problems []string) {
	ports := map[string]bool{}
	labels := map[string]string{}
	for name, deployment := range b.deployments {
		labels = deployment.Spec.Template.Labels
		if !matches(deployment.Spec.Selector.MatchLabels, labels) {
			problems = append(problems, "Deployment "+name+" does not select its own pods")
		}
		spec := deployment.Spec.Template.Spec
		if !b.named["ServiceAccount/"+spec.ServiceAccountName] {
			problems = append(problems, "no ServiceAccount "+spec.ServiceAccountName)
		}
		for _, volume := range spec.Volumes {
			if volume.ConfigMap != nil && !b.named["ConfigMap/"+volume.ConfigMap.Name] {
				problems = append(problems, "no ConfigMap "+volume.ConfigMap.Name)
			}
			if volume.PersistentVolumeClaim != nil && !b.named["PersistentVolumeClaim/"+volume.PersistentVolumeClaim.ClaimName] {
				problems = append(problems, "no PersistentVolumeClaim "+volume.PersistentVolumeClaim.ClaimName)
			}
		}
		for _, container := range spec.Containers {
			for _, port := range container.Ports {
				ports[port.Name] = true
			}
			for _, probe := range []*core.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
				if !probesPort(probe, container.Ports) {
					problems = append(problems, "a probe of "+container.Name+" is missing or names no port")
				}
			}
		}
	}
	for _, service := range b.services {
		if !matches(service.Spec.Selector, labels) {
			problems = append(problems, "Service "+service.Name+" selects no pod")
		}
		for _, port := range service.Spec.Ports {
			if port.TargetPort.Type == intstr.String && !ports[port.TargetPort.StrVal] {
				problems = append(problems, "Service "+service.Name+" names port "+port.TargetPort.StrVal)
			}
		}
	}
	for _, scaler := range b.scalers {
		if b.deployments[scaler.Spec.ScaleTargetRef.Name] == nil {
			problems = append(problems, "HorizontalPodAutoscaler has no target")
		}
	}
	for _, budget := range b.budgets {
		if budget.Spec.Selector == nil || !matches(budget.Spec.Selector.MatchLabels, labels) {
			problems = append(problems, "PodDisruptionBudget selects no pod")
		}
	}
	for _, one := range b.policies {
		if !matches(one.Spec.PodSelector.MatchLabels, labels) {
			problems = append(problems, "NetworkPolicy selects no pod")
		}
		for _, rule := range one.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port != nil && port.Port.Type == intstr.String && !ports[port.Port.StrVal] {
					problems = append(problems, "NetworkPolicy names port "+port.Port.StrVal)
				}
			}
		}
	}
	if len(b.deployments) == 0 || len(b.services) == 0 || len(b.scalers) == 0 || len(b.budgets) == 0 || len(b.policies) == 0 {
		problems = append(problems, "a Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget or NetworkPolicy is missing")
	}
	return problems
}

func restricted(template *corev1.PodTemplateSpec) (problems []string) {
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		return []string{err.Error()}
	}
	level := podsecurityapi.LevelVersion{Level: podsecurityapi.LevelRestricted, Version: podsecurityapi.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			problems = append(problems, result.ForbiddenReason+": "+result.ForbiddenDetail)
		}
	}
	return problems
}

func check(directory string) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		report(directory+": kustomize build", err.Error())
		return
	}
	scheme := legacyscheme.Scheme
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	b := &bundle{deployments: map[string]*apps.Deployment{}, named: map[string]bool{}}
	for _, resource := range resources.Resources() {
		what := fmt.Sprintf("%s: %s %s", directory, resource.GetKind(), resource.GetName())
		text, err := resource.AsYAML()
		if err != nil {
			report(what, err.Error())
			continue
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			report(what, err.Error())
			continue
		}
		scheme.Default(object)
		internal, err := scheme.UnsafeConvertToVersion(object.DeepCopyObject(), runtime.InternalGroupVersioner)
		if err != nil {
			report(what, err.Error())
			continue
		}
		if accessor, ok := internal.(metav1.Object); ok {
			// クラスタが与えるもの。
			accessor.SetNamespace("default")
		}
		if service, ok := internal.(*core.Service); ok && service.Spec.ClusterIP != "" {
			// API サーバーが検証の前に揃える。
			service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
		}
		errors, known := validate(internal)
		problems := []string{}
		for _, one := range errors {
			problems = append(problems, one.Error())
		}
		if !known {
			problems = append(problems, "no validation for this kind")
		}
		b.named[resource.GetKind()+"/"+resource.GetName()] = true
		switch it := internal.(type) {
		case *apps.Deployment:
			b.deployments[it.Name] = it
			template := &corev1.PodTemplateSpec{}
			if err := scheme.Convert(&it.Spec.Template, template, nil); err != nil {
				problems = append(problems, err.Error())
			} else {
				problems = append(problems, restricted(template)...)
			}
		case *core.Service:
			b.services = append(b.services, it)
		case *autoscaling.HorizontalPodAutoscaler:
			b.scalers = append(b.scalers, it)
		case *policy.PodDisruptionBudget:
			b.budgets = append(b.budgets, it)
		case *networking.NetworkPolicy:
			b.policies = append(b.policies, it)
		}
		report(what, problems...)
	}
	report(directory+": references", references(b)...)
}

// compose は、Docker Compose の仕様の参照実装で読む。
func compose(file string) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("check"), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		report(file, err.Error())
		return
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		report(file, err.Error())
		return
	}
	problems := []string{}
	for _, service := range project.Services {
		for _, volume := range service.Volumes {
			if strings.HasSuffix(volume.Source, ".conf") {
				if _, err := os.Stat(volume.Source); err != nil {
					problems = append(problems, service.Name+": "+err.Error())
				}
			}
		}
	}
	report(file, problems...)
}

func main() {
	for _, path := range os.Args[1:] {
		if strings.HasSuffix(path, ".yaml") {
			compose(path)
		} else {
			check(strings.TrimSuffix(path, "/"))
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
