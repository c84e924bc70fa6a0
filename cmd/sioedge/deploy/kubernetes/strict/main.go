// Command strict decodes manifests of Kubernetes as its server does when it is told to
// be strict: no field may be unknown, or there twice.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// kinds makes an object of each kind that manifests here are of.
var kinds = map[string]func() any{
	"v1/ConfigMap":                       func() any { return new(corev1.ConfigMap) },
	"v1/Service":                         func() any { return new(corev1.Service) },
	"apps/v1/Deployment":                 func() any { return new(appsv1.Deployment) },
	"policy/v1/PodDisruptionBudget":      func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
}

func main() {
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

func check(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(b)))
	text := make([]byte, len(b)+1)
	for at := 1; ; at++ {
		n, err := documents.Read(text)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var of metav1.TypeMeta
		if err := yaml.Unmarshal(text[:n], &of); err != nil {
			return err
		}
		object := kinds[of.APIVersion+"/"+of.Kind]
		if object == nil {
			return fmt.Errorf("document %d is %s/%s, which is not known here", at, of.APIVersion, of.Kind)
		}
		if err := yaml.UnmarshalStrict(text[:n], object()); err != nil {
			return fmt.Errorf("document %d: %w", at, err)
		}
	}
}
